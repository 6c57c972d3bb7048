// A session of @grpc/grpc-js: `node session.js HOST:PORT PROTOS`, beside its node_modules.
"use strict";

const assert = require("node:assert");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const health = require("grpc-health-check");

const [address, protos] = process.argv.slice(2);
const options = { keepCase: false, longs: Number, enums: String, oneofs: true };
const file = "apsam_serve/v1/segmentation.proto";
const loaded = grpc.loadPackageDefinition(
  loader.loadSync(file, { ...options, includeDirs: [protos] }),
);
const LARGE = { "grpc.max_send_message_length": -1, "grpc.max_receive_message_length": -1 };
const plaintext = grpc.credentials.createInsecure();
const client = new loaded.apsam_serve.v1.SegmentationService(address, plaintext, LARGE);

const WIDTH = 80;
const HEIGHT = 60;
const rgb = { width: WIDTH, height: HEIGHT, data: Buffer.alloc(3 * WIDTH * HEIGHT, 200) };
const prompts = [{ points: [{ x: 20, y: 20 }] }];

// Resolves to the response, or to the error that the call ended with.
function call(method, request, { deadlineMs = 10000, cancelMs = null } = {}) {
  return new Promise((resolve) => {
    const deadline = new Date(Date.now() + deadlineMs);
    const running = client[method](request, { deadline }, (error, response) =>
      resolve(error || response),
    );
    if (cancelMs !== null) setTimeout(() => running.cancel(), cancelMs);
  });
}

function isHealthy() {
  const definition = grpc.loadPackageDefinition(loader.loadSync(health.protoPath, options));
  const checker = new definition.grpc.health.v1.Health(address, plaintext);
  return new Promise((resolve) =>
    checker.check({ service: "apsam_serve.v1.SegmentationService" }, (error, response) => {
      checker.close();
      resolve(error === null && response.status === "SERVING");
    }),
  );
}

// One station's stream: an image, a click outside, a click inside.
function session() {
  return new Promise((resolve, reject) => {
    const answers = [];
    const stream = client.session();
    stream.on("data", (answer) => answers.push(answer));
    stream.on("end", () => resolve(answers));
    stream.on("error", reject);
    stream.write({ image: { rawRgb: rgb } });
    stream.write({ segment: { prompts: [{ points: [{ x: 500, y: 1 }] }] } });
    stream.write({ segment: { prompts } });
    stream.end();
  });
}

async function main() {
  assert(await isHealthy(), "health");

  const created = await call("createEmbedding", { image: { rawRgb: rgb } });
  assert.strictEqual(created.embedding.width, WIDTH, created.message);
  const { handle } = created.embedding;
  const segmented = await call("segment", { handle, prompts, maskEncoding: "MASK_ENCODING_PNG" });
  assert.strictEqual(segmented.segmentations[0].branch, "BRANCH_CLUSTERS", segmented.message);
  assert.strictEqual(segmented.segmentations[0].mask.data.subarray(1, 4).toString(), "PNG");

  const gone = await call("segment", { handle: "never-made", prompts });
  assert.strictEqual(gone.code, grpc.status.NOT_FOUND);
  assert.strictEqual(gone.metadata.get("apsam-reason")[0], "OWNER_LOST");

  const large = { image: { file: Buffer.alloc(17 * 2 ** 20) } };
  const refused = await call("createEmbedding", large);
  assert.strictEqual(refused.code, grpc.status.RESOURCE_EXHAUSTED, refused.message);

  // 12 MB take longer than these.
  const slow = { image: { rawRgb: { width: 2000, height: 2000, data: Buffer.alloc(12e6) } } };
  const late = await call("createEmbedding", slow, { deadlineMs: 2 });
  assert.strictEqual(late.code, grpc.status.DEADLINE_EXCEEDED, late.message);
  const cancelled = await call("createEmbedding", slow, { cancelMs: 1 });
  assert.strictEqual(cancelled.code, grpc.status.CANCELLED, cancelled.message);

  const answers = await session();
  assert.deepStrictEqual(
    answers.map((answer) => answer.answer),
    ["embedding", "fault", "segmentations"],
  );
  assert.strictEqual(answers[1].fault.reason, "INVALID_PROMPT");

  assert((await call("deleteEmbedding", { handle })).deleted);
  assert(await isHealthy(), "health after all of it");
  client.close();
  console.log(
    "health, CreateEmbedding, Segment, a gone handle, 17 MiB refused, deadline, cancel, a session",
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
