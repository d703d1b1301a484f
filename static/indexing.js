// One line on every page while the index is being made: how far it is, and what indexes the rest.
import { request } from './api.js';
import { h } from './dom.js';
import { count } from './format.js';

const FIRST_MS = 400;
const EVERY_MS = 2000;
const COMMAND = './darkmatter index';
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

  const rest = ({ demo }) => (demo ? [' · the rest: ', h('code', {}, COMMAND)] : []);

  function running(job) {
    const { phase, tokens, total, speed, eta, features, ofFeatures, evaluated, ofEvaluated } = job;
    const dashboards = ofFeatures > 0;
    const [done, all] = ofEvaluated > 0 ? [evaluated, ofEvaluated] : dashboards ? [features, ofFeatures] : [tokens, total];
    const words = ofEvaluated > 0 ? [`Measuring what the SAEs leave unexplained: ${count(evaluated)} of ${count(ofEvaluated)} tokens`, remaining(eta)]
      : dashboards ? [`Making dashboards: ${count(features)} of ${count(ofFeatures)} features`]
      : [`Indexing: ${count(tokens)}${total ? ` of ${count(total)}` : ''} tokens`,
        speed > 0 ? `${count(Math.round(speed))} tokens/s` : '', remaining(eta)];
    text.replaceChildren(words.filter(Boolean).join(' · '), ...rest(job));
    meter.max = all || 1;
    meter.value = done;
    meter.hidden = !all;
    line.dataset.phase = phase;
    if (!line.isConnected) place.replaceChildren(line);
  }
  function finished(job) {
    text.replaceChildren(`${count(job.tokens)} tokens are indexed`, ...rest(job), ' · ',
      h('button', { type: 'button', class: 'link', onclick: () => location.reload() }, 'Show them'));
    meter.hidden = true;
  }
  async function look() {
    if (hidden()) return;
    try {
      const { data } = await request('/api/index');
      const job = runningOf(data.jobs);
      if (job) {
        seen = true;
        running(progress(job));
        setTimeout(look, EVERY_MS);
      } else if (seen) {
        finished(lastOf(data.jobs));
      }
    } catch {
      // A server without an index says nothing about it.
    }
  }
  setTimeout(look, FIRST_MS);
}

const progress = (job) => {
  const done = job.progress ?? {};
  return {
    phase: done.phase ?? '', tokens: done.tokens ?? 0, total: done.totalTokens ?? 0,
    speed: done.tokensPerSecond ?? 0, eta: done.secondsLeft ?? 0,
    features: done.features ?? 0, ofFeatures: done.ofFeatures ?? 0,
    evaluated: done.evaluated ?? 0, ofEvaluated: done.ofEvaluated ?? 0, demo: job.request?.corpus === 'demo',
  };
};
const lastOf = (jobs) => progress(jobs[0] ?? {});
const runningOf = (jobs) => jobs.find(({ state }) => state === 'running');
