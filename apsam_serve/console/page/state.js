// What a person has done with one picture, as values: nothing here draws or asks.
//
// work    {draft, objects}: one step. draft is the object in work or null.
// draft   {token, points, box, answer, category, named, source, suggestion, refines}
//         token names the question, so that its answer finds it wherever undo has moved it.
// object  {key, category, mask, score, source, verdict, prompt, model_digest, suggestion}
// history {past, present, future}

export const NOTHING = Object.freeze({ draft: null, objects: Object.freeze([]) });

let last = 0;

/** A name that nothing else in this page has. */
export function fresh(prefix) {
  last += 1;
  return `${prefix}${last}`;
}

export function begin(present = NOTHING) {
  return { past: [], present, future: [] };
}

/** One step further; what had been undone is gone. */
export function step(history, present) {
  return { past: [...history.past, history.present], present, future: [] };
}

export function undo(history) {
  const { past, present, future } = history;
  if (!past.length) return history;
  return { past: past.slice(0, -1), present: past.at(-1), future: [present, ...future] };
}

export function redo(history) {
  const { past, present, future } = history;
  if (!future.length) return history;
  return { past: [...past, present], present: future[0], future: future.slice(1) };
}

/** Every step seen through `change`, without a step of its own. */
function everywhere(history, change) {
  return {
    past: history.past.map(change),
    present: change(history.present),
    future: history.future.map(change),
  };
}

/** The answer to the question `token`, in whatever step that stands. */
export function answered(history, token, answer) {
  return everywhere(history, (work) => {
    if (work.draft?.token !== token) return work;
    const category = work.draft.named ? work.draft.category : answer.category;
    return { ...work, draft: { ...work.draft, answer, category } };
  });
}

/** Objects that came from elsewhere, in every step: no undo takes them away. */
export function joined(history, objects) {
  return everywhere(history, (work) => ({ ...work, objects: [...work.objects, ...objects] }));
}

const BLANK = {
  points: [], box: null, answer: null, category: null, named: false, source: "click",
  suggestion: null, refines: null,
};

/** The draft with one more point. Its earlier mask is refined, and shown until the answer comes. */
export function withPoint(work, point) {
  const draft = work.draft ?? BLANK;
  return asked(work, { ...draft, points: [...draft.points, point] });
}

/** The draft with a box; a box starts a new object unless there is one in work. */
export function withBox(work, box) {
  return asked(work, { ...(work.draft ?? BLANK), box });
}

function asked(work, draft) {
  const refines = draft.answer ? draft.answer.mask_id || null : draft.refines;
  return { ...work, draft: { ...draft, refines, token: fresh("q") } };
}

/** The same question to be answered from scratch, as after a change of strategy. */
export function askedAnew(work) {
  return { ...work, draft: { ...work.draft, refines: null, token: fresh("q") } };
}

/** Whether the draft's answer is the answer to all of its points. */
export function isAnswered(draft) {
  return Boolean(draft?.answer) && draft.answer.token === draft.token;
}

/** A suggestion as the draft: its mask needs no question. */
export function withSuggestion(work, suggestion) {
  const token = fresh("q");
  return {
    ...work,
    draft: {
      ...BLANK,
      token,
      points: [{ ...suggestion.click, positive: true }],
      answer: { ...suggestion.answer, token },
      category: suggestion.answer.category,
      source: "proposal",
      suggestion: suggestion.key,
    },
  };
}

export function withCategory(work, category) {
  return { ...work, draft: { ...work.draft, category, named: true } };
}

export function withoutDraft(work) {
  return { ...work, draft: null };
}

/** The draft among the objects. `strategy` is how its mask was asked for. */
export function accepted(work, strategy, verdict = null) {
  const { draft } = work;
  const touched = draft.points.length > 1 || draft.box !== null
    || draft.category !== draft.answer.category;
  const object = {
    key: fresh("o"),
    category: draft.category ?? null,
    mask: draft.answer.mask,
    score: draft.answer.score,
    source: draft.source,
    verdict: verdict ?? (draft.source !== "click" && touched ? "corrected" : "accepted"),
    prompt: {
      points: draft.points, box: draft.box, strategy, branch: draft.answer.branch,
      adaptive: adaptivePoints(draft.answer),
    },
    model_digest: draft.answer.model_digest ?? "",
    suggestion: draft.suggestion,
  };
  return { draft: null, objects: [...work.objects, object] };
}

export function changed(work, key, fields) {
  const objects = work.objects.map((one) => (one.key === key ? { ...one, ...fields } : one));
  return { ...work, objects };
}

export function without(work, key) {
  return { ...work, objects: work.objects.filter((one) => one.key !== key) };
}

const ADAPTIVE = new Set(["clusters", "fallback"]);

/** The Adaptive Point Generator's points of an answer, none where it placed none. */
export function adaptivePoints(answer) {
  if (!answer || !ADAPTIVE.has(answer.branch)) return [];
  return answer.points.filter((point) => point.positive);
}

/** What the console must do so that it holds `wanted`: [{kind, object, held}], oldest first.
 * `held` maps keys to what was saved. */
export function difference(held, wanted) {
  const keys = new Set(wanted.map((one) => one.key));
  const steps = [];
  for (const [key, object] of held) if (!keys.has(key)) steps.push({ kind: "remove", object });
  for (const object of wanted) {
    const before = held.get(object.key);
    if (!before) steps.push({ kind: "add", object });
    else if (before.category !== object.category || before.verdict !== object.verdict) {
      steps.push({ kind: "change", object });
    }
  }
  return steps;
}
