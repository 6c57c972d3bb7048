"""How a report looks: colours for light, dark and paper."""

from __future__ import annotations

from bench.measure.svg import NUM_STAGE_COLOURS

_LIGHT = """--ground: #fff; --ink: #16181d; --soft: #5c6370; --rule: #d9dce2; --tint: #f4f5f7;
--bad: #b3261e; --rest: #c9cdd4;
--c0: #2a6fd1; --c1: #e0662b; --c2: #159a6c; --c3: #c98a00; --c4: #c9518a; --c5: #3f7d20;
--c6: #5b4bc4; --c7: #8a4b2a; --c8: #6b7280; --c9: #2a9fbd;"""
_DARK = """--ground: #14161a; --ink: #e8eaed; --soft: #a0a7b4; --rule: #343a44; --tint: #1e2127;
--bad: #ff8a80; --rest: #4a505b;
--c0: #5a9bf0; --c1: #f08a55; --c2: #35bd8c; --c3: #e0aa30; --c4: #e57cae; --c5: #7cb85a;
--c6: #9a8cf0; --c7: #c98a66; --c8: #9aa3b0; --c9: #4fc3dc;"""
_COLOURS = "".join(
    f".c{n} {{ --c: var(--c{n}); }} .g{n} {{ fill: var(--c{n}); --c: var(--c{n}); }}\n"
    for n in range(NUM_STAGE_COLOURS)
)
STYLE = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
@media print {{ :root {{ color-scheme: light; {_LIGHT} }} }}
{_COLOURS}"""
STYLE += """
.rest { fill: var(--rest); --c: var(--rest); }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 62rem; margin: 2.2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; padding-top: .9rem;
  border-top: 1px solid var(--rule); }
.lead { color: var(--soft); margin: .4rem 0 1rem; }
pre { background: var(--tint); padding: .6rem .8rem; margin: 0; border-radius: 4px;
  font: 13px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.note, figcaption { color: var(--soft); font-size: .87rem; } figcaption b { color: var(--ink); }
small { display: block; color: var(--soft); font-size: .85em; font-weight: 400; }
.tiles small { font-size: .8rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: .8rem;
  margin-top: 1.2rem; }
.tiles div { border: 1px solid var(--rule); border-radius: 4px; padding: .6rem .8rem; }
.tiles span { display: block; font-size: .85rem; color: var(--soft); }
.tiles b { font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: right; vertical-align: top; padding: .3rem 0 .3rem .9rem;
  font-variant-numeric: tabular-nums; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th.group { color: var(--ink); padding-top: 1rem; }
table.small { font-size: .8rem; } table.small td:first-child { min-width: 9rem; }
.facts th { width: 11rem; font-weight: 400; white-space: normal; }
.facts td { text-align: left; overflow-wrap: anywhere; }
.thin { color: var(--soft); opacity: .75; } .bad { color: var(--bad); font-weight: 600; }
figure { margin: 1.2rem 0 2rem; break-inside: avoid; }
figure ul { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: .4rem 0;
  padding: 0; font-size: .85rem; }
i { display: inline-block; width: 1.1rem; height: .2rem; margin-right: .45rem;
  vertical-align: middle; background: var(--c); }
i.dashed { background:
  repeating-linear-gradient(90deg, var(--c) 0 5px, transparent 5px 8px); }
i.fill { margin-right: .3rem; height: .75rem; width: .75rem; border-radius: 2px; }
svg { display: block; width: 100%; height: auto; margin-top: .5rem; overflow: visible; }
svg text { font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.tick { fill: var(--soft); } .label { fill: var(--ink); }
.grid { stroke: var(--rule); fill: none; } .axis { stroke: var(--soft); fill: none; }
.line { stroke: var(--c); stroke-width: 2; fill: none; stroke-linejoin: round; }
.line.dashed { stroke-dasharray: 6 4; }
.dot { stroke: var(--c); stroke-width: 7; stroke-linecap: round; }
.ring { stroke: var(--c); stroke-width: 2; fill: var(--ground); }
.mote { stroke: var(--c); stroke-width: 3; stroke-linecap: round; opacity: .75; }
.median { stroke: var(--ink); stroke-width: 1.5; fill: none; }
section { break-before: auto; }
@media print { body { margin: 0; max-width: none; font-size: 11pt; }
  .wide { overflow: visible; } table, table.small { font-size: .68rem; }
  th, td { padding-left: .45rem; }
  * { print-color-adjust: exact; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""
