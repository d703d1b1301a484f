// The published npm client against the real program on the demo, then the routes it has no method for.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { run, test } from './check.mjs';
import { D_SAE, MODEL, SOURCE, TEXT, TOKENS, WIDTH, facts, near, reference } from './demo.mjs';
import { startServer } from './server.mjs';

const { Configuration, DefaultApi } = createRequire(import.meta.url)('neuronpedia-inference-client');

const server = await startServer();
const api = new DefaultApi(new Configuration({ basePath: `${server.base}/v1` }));
const model = MODEL;
const source = SOURCE;
const SHORT = 'And God said';

const post = (path, body) => fetch(server.base + path, {
  method: 'POST', headers: { 'Content-Type': 'application/json' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});
async function ok(path, body) {
  const response = body === undefined ? await fetch(server.base + path) : await post(path, body);
  assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
  return response;
}

/** The client turns a key that the server does not send into undefined, without a word. */
function has(object, ...keys) {
  for (const key of keys) assert.notEqual(object[key], undefined, `${key} is missing`);
}
function isNear(value, expected, what) {
  assert.ok(near(value, expected), `${what}: ${value}, expected ${expected}`);
}
function assertSingle(one, index, tokens = TOKENS) {
  has(one, 'activation', 'tokens', 'tokensIsSpecial');
  const { activation } = one;
  has(activation, 'values', 'maxValue', 'maxValueIndex');
  assert.deepEqual(one.tokens, tokens.slice(1));
  assert.deepEqual(one.tokensIsSpecial, tokens.slice(1).map(() => false));
  assert.equal(activation.values.length, tokens.length - 1);
  assert.equal(activation.maxValue, Math.max(...activation.values));
  assert.equal(activation.values.indexOf(activation.maxValue), activation.maxValueIndex);
  for (const { position, top } of tokens === TOKENS ? facts.get(source) : []) {
    const known = top.find(([feature]) => feature === index);
    if (known) isNear(activation.values[position - 1], known[1], `feature ${index} at ${position}`);
  }
}
function assertAll(one, tokens, count) {
  has(one, 'activations', 'tokens');
  assert.deepEqual(one.tokens, tokens);
  assert.equal(one.activations.length, count);
  for (const row of one.activations) {
    has(row, 'source', 'index', 'values', 'sumValues', 'maxValue', 'maxValueIndex');
    assert.equal(row.values.length, tokens.length);
    assert.equal(row.values[0], 0);
    assert.equal(row.values[row.maxValueIndex], row.maxValue);
    assert.ok(Number.isInteger(row.index) && row.index >= 0 && row.index < D_SAE);
  }
}
function assertTopk(one, tokens, count) {
  has(one, 'results', 'tokens');
  assert.deepEqual(one.tokens, tokens);
  assert.deepEqual(one.results.map(({ tokenPosition }) => tokenPosition), tokens.slice(1).map((_, i) => i + 1));
  for (const row of one.results) {
    has(row, 'tokenPosition', 'token', 'isSpecial', 'topFeatures');
    assert.equal(row.token, tokens[row.tokenPosition]);
    assert.equal(row.isSpecial, false);
    assert.equal(row.topFeatures.length, count);
    for (const top of row.topFeatures) has(top, 'featureIndex', 'activationValue');
    const values = row.topFeatures.map(({ activationValue }) => activationValue);
    assert.deepEqual(values, [...values].sort((a, b) => b - a));
  }
}
/** What the client throws: the status, and an {error} that a person can read. */
async function refused(promise, statuses) {
  const error = await promise.then(() => assert.fail('expected an error'), (thrown) => thrown);
  assert.ok(error.response, String(error));
  assert.ok(statuses.includes(error.response.status), `status ${error.response.status}`);
  const body = await error.response.json();
  assert.equal(typeof body.error, 'string');
  return body.error;
}

/* --- the client's methods ------------------------------------------------------------------- */

test('client: tokenize gives the ids of the reference', async () => {
  const reply = await api.tokenizePost({ tokenizePostRequest: { model, text: TEXT, prependBos: true } });
  has(reply, 'tokens', 'tokenStrings', 'prependBos');
  assert.deepEqual(reply.tokens, reference.ids);
  assert.deepEqual(reply.tokenStrings, TOKENS);
  assert.equal(reply.prependBos, true);
});

test('client: activationSingle leaves out the BOS and has the values of the reference', async () => {
  for (const index of [1249, 1508, 193, 459]) {
    const reply = await api.activationSinglePost({
      activationSinglePostRequest: { prompt: TEXT, model, source, index: String(index) },
    });
    assertSingle(reply, index);
  }
});

test('client: activationSingle with a vector keeps the BOS', async () => {
  const vector = Array.from({ length: WIDTH }, (_, i) => (i === 7 ? 1 : 0));
  const reply = await api.activationSinglePost({
    activationSinglePostRequest: { prompt: TEXT, model, vector, hook: 'blocks.2.hook_resid_post' },
  });
  has(reply, 'activation', 'tokens', 'tokensIsSpecial');
  assert.deepEqual(reply.tokens, TOKENS);
  assert.equal(reply.tokensIsSpecial[0], true);
  isNear(reply.activation.values.at(-1), reference.layers['res.2'].first8_last[7], 'dimension 7 of resid_post 2');
});

test('client: activationSingleBatch answers in order', async () => {
  const reply = await api.activationSingleBatchPost({
    activationSingleBatchPostRequest: { prompts: [SHORT, TEXT], model, source, index: '1508' },
  });
  has(reply, 'results');
  assert.equal(reply.results.length, 2);
  assertSingle(reply.results[1], 1508);
  assert.equal(reply.results[0].tokens.join(''), SHORT);
});

test('client: activationAll ranks by maximum, or by the sum over tokens', async () => {
  const request = { prompt: TEXT, model, sourceSet: 'gemmascope-res-2k', selectedSources: [source],
    sortByTokenIndexes: [], ignoreBos: true, numResults: 7 };
  const byMax = await api.activationAllPost({ activationAllPostRequest: request });
  assertAll(byMax, TOKENS, 7);
  const maxima = byMax.activations.map(({ maxValue }) => maxValue);
  assert.deepEqual(maxima, [...maxima].sort((a, b) => b - a));
  const tops = facts.get(source).map(({ top }) => top[0][1]);
  isNear(maxima[0], Math.max(...tops), 'the strongest of the text');
  assert.ok(byMax.activations.every((row) => row.source === source && row.sumValues === 0));

  const bySum = await api.activationAllPost({
    activationAllPostRequest: { ...request, sortByTokenIndexes: [12] },
  });
  assertAll(bySum, TOKENS, 7);
  const last = facts.get(source).find(({ position }) => position === 12).top;
  bySum.activations.slice(0, last.length).forEach((row, i) => {
    assert.equal(row.index, last[i][0]);
    isNear(row.sumValues, last[i][1], `rank ${i}`);
  });
});

test('client: activationAll over a whole set names the sources', async () => {
  const reply = await api.activationAllPost({ activationAllPostRequest: {
    prompt: SHORT, model, sourceSet: 'gemmascope-res-2k', selectedSources: [], sortByTokenIndexes: [], ignoreBos: true,
  } });
  assertAll(reply, reply.tokens, 25);
  const names = new Set(reply.activations.map((row) => row.source));
  assert.deepEqual([...names].sort(), ['2-gemmascope-res-2k', '3-gemmascope-res-2k']);
});

test('client: activationAllBatch answers in order', async () => {
  const reply = await api.activationAllBatchPost({ activationAllBatchPostRequest: {
    prompts: [TEXT, SHORT], model, sourceSet: 'gemmascope-res-2k', selectedSources: [source],
    sortByTokenIndexes: [], ignoreBos: true, numResults: 3,
  } });
  has(reply, 'results');
  assertAll(reply.results[0], TOKENS, 3);
  assert.equal(reply.results[1].tokens.slice(1).join(''), SHORT);
});

test('client: activationTopkByToken has the features of the reference, for every source', async () => {
  for (const [name, positions] of facts) {
    const reply = await api.activationTopkByTokenPost({
      activationTopkByTokenPostRequest: { prompt: TEXT, model, source: name, topK: 6, ignoreBos: true },
    });
    assertTopk(reply, TOKENS, 6);
    for (const { position, top } of positions) {
      const got = reply.results[position - 1].topFeatures;
      assert.deepEqual(got.map(({ featureIndex }) => featureIndex), top.map(([index]) => index), `${name} at ${position}`);
      top.forEach(([index, value], i) => isNear(got[i].activationValue, value, `${name} ${index} at ${position}`));
    }
  }
});

test('client: activationTopkByTokenBatch answers in order', async () => {
  const reply = await api.activationTopkByTokenBatchPost({ activationTopkByTokenBatchPostRequest: {
    prompts: [TEXT, SHORT], model, source, topK: 4, ignoreBos: true,
  } });
  has(reply, 'results');
  assertTopk(reply.results[0], TOKENS, 4);
  assert.equal(reply.results[1].tokens.slice(1).join(''), SHORT);
});

test('client: activationSource has as many active features a token as the reference', async () => {
  for (const [name, positions] of facts) {
    const reply = await api.activationSourcePost({ activationSourcePostRequest: { prompts: [TEXT], model, source: name } });
    has(reply, 'results');
    const [one] = reply.results;
    has(one, 'tokens', 'activeFeatures');
    assert.deepEqual(one.tokens, TOKENS);
    const l0 = new Array(TOKENS.length).fill(0);
    for (const pairs of Object.values(one.activeFeatures)) for (const [position] of pairs) l0[position]++;
    assert.equal(l0[0], 0);
    for (const { position, l0: known } of positions) assert.equal(l0[position], known, `${name} at ${position}`);
  }
});

test('client: utilSaeVector gives a vector of the model’s width for every source', async () => {
  for (const name of facts.keys()) {
    const reply = await api.utilSaeVectorPost({ utilSaeVectorPostRequest: { model, source: name, index: 140 } });
    has(reply, 'vector', 'hookName');
    assert.equal(reply.vector.length, WIDTH);
    assert.ok(reply.vector.every(Number.isFinite) && reply.vector.some((value) => value !== 0));
    assert.match(reply.hookName, new RegExp(name[0]));
  }
});

test('client: utilSaeTopkByDecoderCossim finds the feature itself first', async () => {
  const feature = { model, source, index: 140 };
  const reply = await api.utilSaeTopkByDecoderCossimPost({
    utilSaeTopkByDecoderCossimPostRequest: { feature, model, source, numResults: 5 },
  });
  has(reply, 'feature', 'topkDecoderCossimFeatures');
  assert.deepEqual(reply.feature, feature);
  const rows = reply.topkDecoderCossimFeatures;
  assert.equal(rows.length, 5);
  for (const row of rows) has(row, 'feature', 'cosineSimilarity');
  assert.equal(rows[0].feature.index, 140);
  assert.ok(Math.abs(rows[0].cosineSimilarity - 1) < 1e-5);
  for (let i = 1; i < rows.length; i++) assert.ok(rows[i].cosineSimilarity <= rows[i - 1].cosineSimilarity);
});

test('client: utilSaeTopkByDecoderCossim takes a vector', async () => {
  const { vector } = await api.utilSaeVectorPost({ utilSaeVectorPostRequest: { model, source, index: 140 } });
  const reply = await api.utilSaeTopkByDecoderCossimPost({
    utilSaeTopkByDecoderCossimPostRequest: { vector, model, source, numResults: 3 },
  });
  assert.equal(reply.topkDecoderCossimFeatures.length, 3);
  assert.ok(reply.topkDecoderCossimFeatures.every(({ cosineSimilarity }) => Math.abs(cosineSimilarity) <= 1 + 1e-6));
});

const steer = { model, steerMethod: 'SIMPLE_ADDITIVE', normalizeSteering: false, nCompletionTokens: 8,
  temperature: 0, strengthMultiplier: 4, freqPenalty: 0, seed: 16 };

test('client: steerCompletion steers beside the default, in the order of types', async () => {
  const ask = (change) => api.steerCompletionPost({ steerCompletionRequest: { ...steer, prompt: TEXT,
    types: ['STEERED', 'DEFAULT'], features: [{ model, source, index: 251, strength: 10 }], ...change } });
  const reply = await ask({});
  has(reply, 'outputs');
  assert.deepEqual(reply.outputs.map(({ type }) => type), ['STEERED', 'DEFAULT']);
  for (const output of reply.outputs) has(output, 'type', 'output');
  const [steered, plain] = reply.outputs.map(({ output }) => output);
  assert.notEqual(steered, plain);
  assert.ok(!plain.startsWith(TEXT), 'the generated text only');
  const turned = await ask({ types: ['DEFAULT', 'STEERED'] });
  assert.deepEqual(turned.outputs.map(({ output }) => output), [plain, steered]);
  const nothing = await ask({ strengthMultiplier: 0 });
  assert.equal(nothing.outputs[0].output, plain);
});

test('client: steerCompletion takes vectors, seeds and log probabilities', async () => {
  const { data } = (await (await ok('/v1/trace', { prompt: TEXT, read: ['resid_post.2'], positions: [-1] })).json())
    .tensors['resid_post.2'];
  const ask = (seed) => api.steerCompletionPost({ steerCompletionRequest: { ...steer, prompt: SHORT, seed,
    temperature: 1, types: ['STEERED'], nLogprobs: 3,
    vectors: [{ steeringVector: data, strength: 0.5, hook: 'blocks.2.hook_resid_post' }] } });
  const [first, again, other] = [await ask(1), await ask(1), await ask(2)].map(({ outputs }) => outputs[0]);
  assert.equal(first.output, again.output);
  assert.notEqual(first.output, other.output);
  assert.equal(first.logprobs.length, 8);
  assert.equal(first.logprobs.map(({ token }) => token).join(''), first.output);
  for (const step of first.logprobs) assert.equal(step.topLogprobs.length, 3);
});

test('client: steerCompletionChat tells a base model from a tuned one', async () => {
  const error = await refused(api.steerCompletionChatPost({ steerCompletionChatPostRequest: {
    ...steer, types: ['DEFAULT'], prompt: [{ role: 'user', content: SHORT }], steerSpecialTokens: true,
  } }), [400]);
  assert.match(error, /\/v1\/steer\/completion/);
});

test('client: steerCompletionChat continues a conversation where there is a template', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkmatter-chat-'));
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json', 'darkmatter.json', 'saes']) {
    symlinkSync(resolve('demo', name), join(folder, name));
  }
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"chat_template": "{{ bos_token }}"}');
  const tuned = await startServer({ args: ['--model', folder, '--saes', join(folder, 'saes')] });
  try {
    const chat = new DefaultApi(new Configuration({ basePath: `${tuned.base}/v1` }));
    const reply = await chat.steerCompletionChatPost({ steerCompletionChatPostRequest: {
      ...steer, types: ['STEERED', 'DEFAULT'], prompt: [{ role: 'user', content: SHORT }],
      features: [{ model, source, index: 251, strength: 10 }], steerSpecialTokens: false,
    } });
    has(reply, 'outputs', 'input');
    has(reply.input, 'chatTemplate', 'raw');
    for (const output of reply.outputs) {
      has(output, 'chatTemplate', 'raw', 'type');
      assert.deepEqual(output.chatTemplate.map(({ role }) => role), ['user', 'assistant']);
      assert.ok(output.raw.startsWith(reply.input.raw));
    }
    assert.match(reply.input.raw, /^<bos><start_of_turn>user\n.*<start_of_turn>model\n$/s);
  } finally {
    await tuned.stop();
    rmSync(folder, { recursive: true });
  }
});

test('http: a stream of server-sent events repeats the reply so far', async () => {
  const body = { prompt: SHORT, types: ['DEFAULT'], n_completion_tokens: 5 };
  const whole = await (await ok('/v1/steer/completion', body)).json();
  const response = await ok('/v1/steer/completion', { ...body, stream: true });
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  const frames = (await response.text()).split('\n\n').filter(Boolean).map((frame) => JSON.parse(frame.replace(/^data: /, '')));
  assert.equal(frames.length, 5);
  frames.slice(1).forEach(({ outputs: [{ output }] }, i) => assert.ok(output.startsWith(frames[i].outputs[0].output)));
  assert.deepEqual(frames.at(-1), whole);
});

test('client: mistakes come back as {error} that names the field', async () => {
  const single = (change) => api.activationSinglePost({
    activationSinglePostRequest: { prompt: SHORT, model, source, index: '1', ...change },
  });
  assert.match(await refused(single({ index: String(D_SAE) }), [400, 404, 422]), /index/);
  assert.match(await refused(single({ source: '9-nothing' }), [400, 404, 422]), /source/);
  const long = await refused(single({ prompt: 'word '.repeat(4000) }), [400, 413, 422]);
  assert.match(long, /\d{4}.*\d{3}/, 'both numbers');
});

/* --- without the client --------------------------------------------------------------------- */

test('http: camelCase requests work and replies carry both spellings', async () => {
  const all = await (await ok('/v1/activation/all', { prompt: TEXT, model, sourceSet: 'gemmascope-res-2k',
    selectedSources: [source], sortByTokenIndexes: [3], ignoreBos: true, numResults: 2 })).json();
  assert.equal(all.activations.length, 2);
  for (const row of all.activations) {
    assert.equal(row.maxValue, row.max_value);
    assert.equal(row.maxValueIndex, row.max_value_index);
    assert.equal(row.sumValues, row.sum_values);
    assert.equal(typeof row.sumValues, 'number');
  }
  const topk = await (await ok('/v1/activation/topk-by-token', { prompt: TEXT, model, source, topK: 2, ignoreBos: false })).json();
  assert.equal(topk.results.length, TOKENS.length);
  assert.equal(topk.results[0].isSpecial, true);
  assert.equal(topk.results[0].is_special, true);
  assert.equal(topk.results[1].tokenPosition, 1);
  const [first] = topk.results[1].topFeatures;
  assert.deepEqual([first.featureIndex, first.activationValue],
    [topk.results[1].top_features[0].feature_index, topk.results[1].top_features[0].activation_value]);
  const one = await (await ok('/v1/activation/single', { prompt: TEXT, model, source, index: '1508' })).json();
  assert.equal(one.activation.maxValue, one.activation.max_value);
  assert.deepEqual(one.tokensIsSpecial, one.tokens_is_special);
  assert.equal(one.activation.dfa_values, null);
  const tokens = await (await ok('/v1/tokenize', { model, text: TEXT, prependBos: false })).json();
  assert.deepEqual(tokens.tokens, reference.ids.slice(1));
  assert.deepEqual(tokens.tokenStrings, tokens.token_strings);
});

test('http: the second answer comes from the cache and is the same byte for byte', async () => {
  const body = { prompt: `${SHORT} unto the cache`, model, source, index: '1508' };
  const first = await ok('/v1/activation/single', body);
  const second = await ok('/v1/activation/single', body);
  assert.equal(first.headers.get('x-darkmatter-cache'), 'miss');
  assert.equal(second.headers.get('x-darkmatter-cache'), 'hit');
  assert.equal(await second.text(), await first.text());
});

test('http: raw gives the residual stream of the last token', async () => {
  const reply = await (await ok('/v1/activation/raw', { prompts: [TEXT], layers: [2, 4], model })).json();
  const [one] = reply.results;
  assert.deepEqual(one.token_ids, reference.ids);
  assert.deepEqual(one.activations.map(({ layer }) => layer), [2, 4]);
  for (const { layer, token_indices: at, values } of one.activations) {
    assert.deepEqual(at, [TOKENS.length - 1]);
    assert.equal(values[0].length, WIDTH);
    const known = reference.layers[`res.${layer}`];
    known.first8_last.forEach((value, i) => isNear(values[0][i], value, `layer ${layer} dimension ${i}`));
    isNear(Math.hypot(...values[0]), known.norm_last, `norm of layer ${layer}`);
  }
});

test('http: attention gives the strongest keys of each query', async () => {
  const reply = await (await ok('/v1/activation/attention', { prompt: TEXT, model, layer: 2, head: 1 })).json();
  assert.equal(reply.seq_len, TOKENS.length);
  assert.equal(reply.attention_indices.length, reply.attention_values.length);
  const rows = new Array(reply.seq_len).fill(0);
  reply.attention_indices.forEach((cell, i) => {
    const query = Math.floor(cell / reply.seq_len);
    assert.ok(cell % reply.seq_len <= query, 'no key after its query');
    assert.ok(reply.attention_values[i] >= 0.005);
    rows[query] += reply.attention_values[i];
  });
  assert.ok(rows.every((sum) => sum > 0.2 && sum < 1.001));
  assert.deepEqual(reply.tokens, TOKENS);
});

/** name -> {dtype, shape, values} of a safetensors file. */
function safetensors(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(buffer.slice(8, 8 + length)));
  delete header.__metadata__;
  return new Map(Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const bytes = buffer.slice(8 + length + from, 8 + length + to);
    return [name, { dtype, shape, values: dtype === 'I32' ? new Int32Array(bytes) : new Float32Array(bytes) }];
  }));
}

test('http: trace gives tensors of the last position as safetensors', async () => {
  const response = await ok('/v1/trace', { prompt: TEXT, read: ['resid_post.2', `acts:${source}`], positions: [-1], format: 'safetensors' });
  const tensors = safetensors(await response.arrayBuffer());
  assert.deepEqual([...tensors.get('tokens').values], reference.ids);
  const resid = tensors.get('resid_post.2');
  assert.deepEqual(resid.shape, [1, WIDTH]);
  reference.layers['res.2'].first8_last.forEach((value, i) => isNear(resid.values[i], value, `dimension ${i}`));
  const acts = tensors.get(`acts:${source}`);
  assert.deepEqual(acts.shape, [1, D_SAE]);
  for (const [index, value] of facts.get(source).find(({ position }) => position === 12).top) {
    isNear(acts.values[index], value, `feature ${index}`);
  }
});

test('http: capabilities name the model, the sources and the limit', async () => {
  const reply = await (await ok('/v1/capabilities')).json();
  assert.equal(reply.model, MODEL);
  assert.deepEqual([...reply.sources].sort(), [...facts.keys()].sort());
  assert.ok(Number.isInteger(reply.token_limit) && reply.token_limit > 0);
  assert.equal(reply.num_layers, 5);
});

test('http: health, metrics and openapi answer', async () => {
  assert.deepEqual(await (await ok('/health')).json(), { status: 'healthy' });
  const metrics = await (await ok('/metrics')).text();
  assert.match(metrics, /^darkmatter_cache_hits_total [1-9]/m);
  assert.match(metrics, /^darkmatter_cache_misses_total [1-9]/m);
  const { openapi, paths } = await (await ok('/openapi.json')).json();
  assert.match(openapi, /^3\./);
  for (const path of ['/v1/activation/single', '/v1/activation/topk-by-token', '/v1/trace', '/v1/tokenize']) {
    assert.ok(paths[path]?.post, path);
  }
});

test('http: an unknown path and a wrong method are refused in JSON', async () => {
  const missing = await fetch(`${server.base}/v1/nothing`);
  assert.equal(missing.status, 404);
  assert.equal(typeof (await missing.json()).error, 'string');
  const wrong = await fetch(`${server.base}/v1/activation/single`);
  assert.equal(wrong.status, 405);
  assert.equal(typeof (await wrong.json()).error, 'string');
});

try {
  await run();
} finally {
  await server.stop();
}
