// OpenAI's client for JavaScript calls our server: node openai_client.mjs URL
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is 3 + 4?" }];
const weather = { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } };

const reply = await client.chat.completions.create({ model: "math", messages });
assert.equal(reply.choices[0].message.content, "The answer is 7.");
assert.equal(reply.metagen.strategy, "Vote(4)");

let text = "";
let thought = "";
const stream = await client.chat.completions.create({ model: "math", messages, stream: true, tools: [weather] });
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta.content ?? "";
  thought += chunk.choices[0]?.delta.reasoning ?? "";
}
assert.equal(text, "The answer is 7.");
assert.match(thought, /4 of 4 samples, 4 agree/);

const response = await client.responses.create({ model: "math", input: "What is 3 + 4?" });
assert.equal(response.output_text, "The answer is 7.");
const kinds = [];
for await (const event of await client.responses.create({ model: "math", input: "?", stream: true })) kinds.push(event.type);
assert.equal(kinds.at(-1), "response.completed");

await assert.rejects(client.chat.completions.create({ model: "none", messages }), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ model: "math", messages, logprobs: true }), OpenAI.BadRequestError);
const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.ok(models.includes("math"));
console.log("openai for JavaScript: all is well");
