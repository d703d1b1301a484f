// One line on every page while the index is being made: how far it is, and what indexes the rest.
import { request } from './api.js';
import { h } from './dom.js';
import { count } from './format.js';

const FIRST_MS = 400;
const EVERY_MS = 2000;
const HIDDEN = 'darkmatter-indexing-hidden';

const hidden = () => {
  try {
    return sessionStorage.getItem(HIDDEN) !== null;
  } catch {
    return false;
  }
};

function remaining(seconds) {
  if (!(seconds > 0)) return '';
  return seconds < 90 ? `${Math.ceil(seconds)} s left` : `${Math.ceil(seconds / 60)} min left`;
}

export function watchIndexing(place) {
  const text = h('span');
  const meter = h('progress', { 'aria-label': 'Indexing' });
  const hide = h('button', {
    type: 'button', class: 'plain', 'aria-label': 'Hide this line',
    onclick: () => {
      try {
        sessionStorage.setItem(HIDDEN, '1');
      } catch {
        // It comes back with the next page, then.
      }
      place.replaceChildren();
    },
  }, 'Hide');
  const line = h('div', { class: 'indexing', role: 'status' }, text, meter, hide);
  let seen = false;

  function running(job, command) {
    const { tokens, total, speed, eta } = job;
    text.replaceChildren(...[`Indexing: ${count(tokens)}${total ? ` of ${count(total)}` : ''} tokens`,
      speed > 0 ? `${count(Math.round(speed))} tokens/s` : '', remaining(eta)].filter(Boolean).join(' · '),
    ...(command ? [' · the rest: ', h('code', {}, command)] : []));
    if (total) {
      meter.max = total;
      meter.value = tokens;
    }
    meter.hidden = !total;
    if (!line.isConnected) place.replaceChildren(line);
  }
  function finished(job, command) {
    text.replaceChildren(`${count(job.tokens)} tokens are indexed`,
      ...(command ? ['; the rest: ', h('code', {}, command)] : []), ' · ',
      h('a', { href: location.href, onclick: (event) => { event.preventDefault(); location.reload(); } }, 'Reload'));
    meter.hidden = true;
  }
  async function look() {
    if (hidden()) return;
    try {
      const { data } = await request('/api/index');
      const { job, command } = progressOf(data);
      if (job) {
        seen = true;
        running(job, command);
        setTimeout(look, EVERY_MS);
      } else if (seen) {
        finished(lastOf(data), command);
      }
    } catch {
      // A server without an index says nothing about it.
    }
  }
  setTimeout(look, FIRST_MS);
}

const progress = (job) => {
  const done = { ...job, ...job.progress };
  return {
    tokens: done.tokens ?? 0, total: done.tokens_total ?? done.total ?? 0,
    speed: done.tokens_per_second ?? 0, eta: done.eta_seconds ?? 0,
  };
};
const lastOf = (data) => progress((data.jobs ?? [])[0] ?? {});

function progressOf(data) {
  const job = (data.jobs ?? []).find(({ state }) => state === 'running');
  return { job: job ? progress(job) : null, command: data.command ?? null };
}
