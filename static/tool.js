// What the pages about one text share: the form, the text in the address, waiting, and what went wrong.
import { asking, passing } from './asking.js';
import { curlPanel } from './curl.js';
import { h } from './dom.js';
import { lanes } from './lanes.js';
import { setQuery } from './paths.js';
import { notice, progressLine } from './progress.js';
import { EXAMPLES, promptForm } from './prompt.js';

// Longer addresses are refused by some servers on the way; history.state carries the text then.
const LINK_LIMIT = 6000;

export const queryOf = (name) => new URLSearchParams(location.search).get(name);
export function naturalOf(name) {
  const text = queryOf(name);
  return /^\d{1,9}$/.test(text ?? '') ? Number(text) : null;
}

/**
 * @param title the page's name; lead: one sentence that says what is to be seen
 * @param working words while it computes; verb: the button; controls: elements beside it
 * @param known called once with what /v1/capabilities says, and waited for
 * @param automatic whether a text that comes from the address is computed at once
 * @param compute (text, {ask, signal, onBusy}) computes and shows; throws what went wrong
 */
export function textTool(main, frame, { title, lead, working, verb = 'Run', controls = [], placeholder, keys = [], known = () => {}, automatic = () => true, compute }) {
  const form = promptForm({ onRun: runForm, onStop: halt, verb, controls, placeholder });
  const progress = progressLine();
  const problem = notice();
  const curl = curlPanel();
  const results = h('div', { class: 'results', hidden: true });
  const lane = lanes();
  const { ask, during, report, onBusy } = asking({ progress, lane });
  let text = '';
  main.replaceChildren(h('div', { class: 'toolhead' }, h('h1', {}, title), h('p', { class: 'muted' }, lead)),
    form.element, progress.element, problem.element, results, curl.element);
  curl.element.hidden = true;

  function writeText(push) {
    const long = new URLSearchParams({ text }).toString().length > LINK_LIMIT;
    setQuery({ text: long ? null : text }, { push });
    if (long) history.replaceState({ text }, '', location.href);
  }
  async function run() {
    lane.clear();
    problem.clear();
    if (text === '') {
      results.hidden = true;
      problem.say('Type a text first.');
      return form.focus();
    }
    frame.title(`${title}: ${text.slice(0, 40)}`);
    const signal = lane.enter('run');
    form.busy(true);
    results.classList.add('stale');
    try {
      await during(working, () => compute(text, { ask, signal, onBusy }));
      results.hidden = false;
      results.classList.remove('stale');
      curl.element.hidden = false;
    } catch (error) {
      if (error.name !== 'AbortError') results.hidden = true;
      report(error, problem, passing(error) ? run : null);
    }
    if (!signal.aborted) form.busy(false);
  }
  function runForm() {
    text = form.text();
    writeText(true);
    run();
  }
  /** Something else has changed: what has been typed meanwhile counts too. */
  function again() {
    const typed = form.text();
    if (typed !== '' && typed !== text) {
      text = typed;
      writeText(true);
    }
    return run();
  }
  function halt() {
    lane.clear();
    form.busy(false);
    problem.say('Stopped.', { label: 'Run again', run });
  }
  const wanted = () => queryOf('text') ?? history.state?.text ?? EXAMPLES[0];
  function apply() {
    text = wanted();
    form.fill({ text, source: '' });
    if (automatic()) run();
  }
  async function start() {
    problem.clear();
    try {
      const data = await during('Waiting for the server…', () => frame.fill());
      form.configure([], data.token_limit);
      form.fill({ text: wanted(), source: '' });
      await known(data);
    } catch (error) {
      return report(error, problem, start);
    }
    return apply();
  }

  window.addEventListener('popstate', apply);
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.target.closest('input, textarea, select, dialog')) return;
    event.preventDefault();
    form.focus();
  });
  frame.keys([['Enter', 'runs'], ...keys, ['/', 'to the text']]);
  frame.title(title);

  return { form, progress, problem, results, curl, lane, ask, during, report, run: again, start, text: () => text };
}
