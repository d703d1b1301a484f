// The one way to the server.
import { askSecret } from './secret.js';

const SECRET = 'darkmatter-secret';
const BUSY_TRIES = 5;

/** What went wrong, in the server's words where it has any. status 0: the server did not answer. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** True if a secret is sent, so that a printed command can say so. */
export const hasSecret = () => sessionStorage.getItem(SECRET) !== null;

function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

async function send(path, body, signal) {
  const headers = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (hasSecret()) headers['X-SECRET-KEY'] = sessionStorage.getItem(SECRET);
  try {
    return await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: 'no-store',
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(`No answer from ${location.host}: the server is not running.`, 0);
  }
}

async function failure(response) {
  let message = `${response.status} ${response.statusText}`;
  try {
    const { error } = await response.json();
    if (typeof error === 'string') message = error;
  } catch {
    // Not JSON: a proxy's page, say. The status has to do.
  }
  return new ApiError(message, response.status);
}

async function content(response, binary) {
  try {
    return binary ? await response.arrayBuffer() : await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The answer broke off before its end.', 0);
  }
}

/** A good answer's response. A missing secret is asked for, a full queue is waited for. */
async function answer(path, body, { signal, onBusy }) {
  for (let tries = 1; ; ) {
    const response = await send(path, body, signal);
    if (response.ok) return response;
    if (response.status === 401) {
      const secret = await askSecret(hasSecret());
      if (secret === null) throw await failure(response);
      sessionStorage.setItem(SECRET, secret);
    } else if (response.status === 503 && tries < BUSY_TRIES) {
      tries++;
      const seconds = Number(response.headers.get('Retry-After')) || 2;
      onBusy?.(seconds);
      await wait(seconds, signal);
    } else {
      throw await failure(response);
    }
  }
}

/**
 * GET (no body) or POST.
 * @returns {Promise<{data: object, cache: string|null, ms: number}>} cache: "hit", "miss" or null
 */
export async function request(path, body, { signal, onBusy, binary = false } = {}) {
  const started = performance.now();
  const response = await answer(path, body, { signal, onBusy });
  const data = await content(response, binary);
  const cache = response.headers.get('X-Darkmatter-Cache');
  return { data, cache, ms: performance.now() - started };
}

/** POST answered by server-sent events, or by JSON a line: onFrame is called with each object. */
export async function requestStream(path, body, { signal, onBusy, onFrame }) {
  const response = await answer(path, body, { signal, onBusy });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      signal?.throwIfAborted(); // what was on its way is not shown any more
      if (done) return;
      const lines = (text + value).split('\n');
      text = lines.pop();
      for (const line of lines) {
        if (line === '') continue;
        const data = JSON.parse(line.replace(/^data: /, ''));
        if (typeof data.error === 'string') throw new ApiError(data.error, response.status);
        onFrame(data);
      }
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError('The answer broke off before its end.', 0);
  }
}

/** GET of numbers without a text around them. */
export async function requestBytes(path) {
  return (await request(path, undefined, { binary: true })).data;
}
