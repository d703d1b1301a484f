// Asking the server so that a person always knows what is going on: a full queue, a wait, a failure,
// a server that is away.
import { request } from './api.js';

const HEALTH_EVERY_MS = 2000;

/** @param progress a progressLine; lane: lanes() */
export function asking({ progress, lane }) {
  let pending = 0;
  const onBusy = (seconds) => progress.say(`The server is busy; trying again in ${seconds} s.`);

  const ask = ({ path, body }, signal, options = {}) => request(path, body, { signal, onBusy, ...options });

  /** Shows that something is waited for until the work is done, given up or replaced. */
  async function during(words, work) {
    progress.start(words);
    pending++;
    try {
      return await work();
    } finally {
      pending--;
      if (pending === 0) progress.stop();
    }
  }

  async function waitForServer(retry) {
    const signal = lane.enter('health');
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, HEALTH_EVERY_MS));
      if (signal.aborted) return;
      const alive = await request('/health', undefined, { signal }).then(() => true, () => false);
      if (alive && !signal.aborted) return void retry();
    }
  }

  /** Says what went wrong; a server that is away is asked again until it is back. */
  function report(error, where, retry) {
    if (error.name === 'AbortError') return;
    where.say(error.message, retry && { label: 'Try again', run: retry });
    if (error.status === 0 && retry) waitForServer(retry);
  }
  return { ask, during, report, onBusy };
}

/** True if asking the same again may help. */
export const passing = (error) => [0, 401, 500, 503].includes(error.status);
