// POST /v1/trace as typed arrays: the safetensors reply is an eighth of the JSON one.

/** @typedef {{shape: number[], data: Float32Array|Int32Array}} Tensor */

/** @returns {Map<string, Tensor>} of a safetensors file's bytes; the arrays share them */
export function readSafetensors(buffer) {
  const size = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const start = 8 + size;
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const Kind = dtype === 'I32' ? Int32Array : Float32Array;
    const [begin, end] = offsets;
    // A typed array wants its start aligned; a copy of the part always is.
    const data = (start + begin) % 4 === 0 ? new Kind(buffer, start + begin, (end - begin) / 4)
      : new Kind(buffer.slice(start + begin, start + end));
    tensors.set(name, { shape, data });
  }
  return tensors;
}

export const traceCall = (title, body) => ({ path: '/v1/trace', title, body });

/** @param ask of asking.js */
export async function trace(ask, body, signal) {
  const { data } = await ask(traceCall('', { ...body, format: 'safetensors' }), signal, { binary: true });
  return readSafetensors(data);
}

/** The tokens of a text, <bos> first, in words. */
export async function tokenTexts(ask, text, signal) {
  const { data } = await ask({ path: '/v1/tokenize', body: { text, prepend_bos: true } }, signal);
  return data.token_strings;
}

/** What ids say: the names that a pass of nothing but them gives its tokens. */
export async function idTexts(ask, ids, signal) {
  const { data } = await ask(traceCall('', { tokens: ids, read: ['embed'], positions: [0] }), signal);
  return data.token_strings;
}
