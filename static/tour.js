// The guided tour: from a text to what the SAE leaves unexplained of it, one step at a time, each with
// the command that does the same.
import { asking, passing } from './asking.js';
import { curlPanel } from './curl.js';
import { h } from './dom.js';
import { lanes } from './lanes.js';
import { setQuery } from './paths.js';
import { notice, progressLine } from './progress.js';
import { PUBLISHED } from './published.js';
import { queryOf } from './tool.js';
import { choose, stepsOf } from './tour_steps.js';

export function openTour(main, frame) {
  const text = queryOf('text') ?? PUBLISHED.text;
  const lane = lanes();
  const progress = progressLine();
  const problem = notice();
  const { ask, during, report } = asking({ progress, lane });
  const curl = curlPanel();
  curl.element.open = true;
  const list = h('ol', { class: 'steplist' });
  const title = h('h2', { id: 'steptitle', tabindex: -1 });
  const words = h('p', { class: 'stepwords' });
  const place = h('div', { class: 'stepbody' });
  const previous = h('button', { type: 'button', class: 'plain', id: 'previous', onclick: () => go(at - 1) }, '‹ Back');
  const next = h('button', { type: 'button', class: 'primary', id: 'next', onclick: () => go(at + 1) }, 'Next');
  const where = h('p', { class: 'muted', id: 'where' });
  const change = h('form', { class: 'tourtext', 'aria-label': 'Text of the tour', onsubmit: (event) => {
    event.preventDefault();
    setQuery({ text: field.value, step: null });
    location.reload();
  } }, h('label', { for: 'tourtext' }, 'Text'), h('input', { id: 'tourtext', value: text, autocomplete: 'off', spellcheck: 'false', required: true }), h('button', { type: 'submit', class: 'plain' }, 'Start again'));
  const field = change.querySelector('input');
  main.replaceChildren(h('div', { class: 'toolhead' }, h('h1', {}, 'Tour'), h('p', { class: 'muted' }, 'The walk of “The Dark Matter of AI” (Welch Labs) on the model that is served here.'), change),
    h('div', { class: 'tour' }, h('nav', { 'aria-label': 'Steps' }, list),
      h('section', { class: 'step', 'aria-labelledby': 'steptitle' }, title, words, progress.element, problem.element, place,
        h('div', { class: 'stepends' }, previous, where, next), curl.element)));
  let steps = [];
  let context = null;
  let at = 0;

  function describe() {
    const step = steps[at];
    title.textContent = step.title;
    words.textContent = step.words(context);
    where.textContent = `${at + 1} of ${steps.length}`;
    previous.disabled = at === 0;
    next.hidden = at === steps.length - 1;
    next.textContent = 'Next';
    [...list.children].forEach((item, i) => item.firstChild.toggleAttribute('aria-current', i === at));
    list.children[at].firstChild.setAttribute('aria-current', 'step');
    list.scrollLeft = list.children[at].offsetLeft - 60;
    frame.title(`Tour: ${step.title}`);
  }
  async function show() {
    const step = steps[at];
    const signal = lane.enter('step');
    context.signal = signal;
    problem.clear();
    describe();
    place.classList.add('stale');
    delete main.dataset.step;
    try {
      await during('Asking the model…', async () => {
        await step.prepare?.(context);
        const calls = step.calls(context);
        curl.show(calls);
        const nodes = await step.show(context, calls);
        if (signal.aborted) return;
        place.replaceChildren(...nodes);
        place.classList.remove('stale');
        main.dataset.step = step.id;
      });
    } catch (error) {
      if (error.name === 'AbortError') return;
      place.replaceChildren();
      place.classList.remove('stale');
      report(error, problem, passing(error) ? show : null);
    }
  }
  function go(to, { push = true } = {}) {
    if (to < 0 || to >= steps.length) return;
    at = to;
    setQuery({ step: at === 0 ? null : steps[at].id }, { push });
    show();
    title.focus({ preventScroll: true });
    if (title.getBoundingClientRect().top < 0) title.scrollIntoView();
  }
  const wanted = () => Math.max(0, steps.findIndex(({ id }) => id === queryOf('step')));

  async function start() {
    problem.clear();
    try {
      await during('Choosing a layer, a neuron and a feature…', async () => {
        const known = await frame.fill();
        context = await choose(known, text, PUBLISHED, ask, lane.enter('start'));
      });
    } catch (error) {
      return report(error, problem, passing(error) ? start : null);
    }
    steps = stepsOf(context);
    list.replaceChildren(...steps.map((step, i) => h('li', {}, h('button', { type: 'button', 'data-step': step.id, onclick: () => go(i) }, h('span', { class: 'muted' }, String(i + 1)), step.title))));
    at = wanted();
    show();
  }

  window.addEventListener('popstate', () => {
    at = wanted();
    show();
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.target.closest('input, textarea, select, dialog, pre, [role="group"], [role="listbox"], .dims')) return;
    if (event.key === 'ArrowRight') go(at + 1);
    else if (event.key === 'ArrowLeft') go(at - 1);
  });
  frame.keys([['← →', 'walk the steps'], ['/', 'search']]);
  frame.searchKey();
  frame.title('Tour');
  start();
}
