// One continuation while it is written: its tokens, how likely each was, and what the model thought.
import { h, roving, svg } from './dom.js';
import { exact, paint, short, visible } from './format.js';
import { knownMeaning } from './meanings.js';
import { featurePath } from './paths.js';
import { tips } from './tip.js';

const percent = (logprob) => {
  const share = 100 * Math.exp(logprob);
  return share >= 0.01 ? `${share.toFixed(2)}%` : `${share.toExponential(1)}%`;
};

/** Text with its spaces and line breaks as they are, which wraps between words. */
const face = (token) => token.replaceAll('\n', '↵\n');

/** The tooltip of a generated token: its own probability and what else could have been. */
function candidates({ token, logprob, top_logprobs: top }) {
  return [h('b', {}, JSON.stringify(token).slice(1, -1)), h('span', {}, `probability ${percent(logprob)} · log ${logprob.toFixed(4)}`),
    h('span', { class: 'candidates' }, top.map((one) => h('span', { class: one.token === token ? 'candidate chosen' : 'candidate' },
      h('span', {}, visible(one.token)), svg('svg', { viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('rect', { width: 100 * Math.exp(one.logprob), height: 4 })), h('span', {}, percent(one.logprob)))))];
}

/** The strongest features of a token: a list of links, with their words once they are known. */
function thoughts({ modelOf, onPaint }) {
  const title = h('h3', {});
  const list = h('ol', { class: 'thoughts' });
  const { current } = roving(list, 'button', { next: ['ArrowDown'], previous: ['ArrowUp'] });
  function show(token, features, painted) {
    const most = Math.max(0, ...features.map((one) => one.activation_value));
    title.replaceChildren('Features on ', h('span', { class: 'chip' }, visible(token)));
    list.replaceChildren(...features.map((one) => {
      const known = knownMeaning(one.source, one.feature_index);
      const name = `${one.source}:${one.feature_index}`;
      return h('li', { 'data-feature': name },
        h('a', { class: 'index', tabindex: -1, href: featurePath(modelOf(), one.source, one.feature_index), title: `${one.source} ${one.feature_index}` }, String(one.feature_index)),
        h('button', { type: 'button', tabindex: -1, 'aria-pressed': String(painted === name), title: 'Colour the tokens by it', onclick: () => onPaint(name) },
          h('span', { class: known?.isLabel ? 'text label' : 'text' }, known?.text || '\u00a0'),
          svg('svg', { class: 'bar', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('rect', { width: most > 0 ? (100 * one.activation_value) / most : 0, height: 4 })),
          h('span', { class: 'value', 'data-value': exact(one.activation_value) }, short(one.activation_value))));
    }));
    const first = list.querySelector('button');
    if (first) current(first);
  }
  const clear = () => {
    title.replaceChildren();
    list.replaceChildren();
  };
  return { element: h('div', { class: 'thinking' }, title, list), show, clear };
}

/** @param type STEERED or DEFAULT; onPaint(name): a feature was chosen to colour the tokens by */
export function continuation(type, { words, modelOf, onPaint }) {
  const before = h('span', { class: 'before' });
  const tokens = h('span', { class: 'generated', role: 'listbox', 'aria-label': `Generated tokens, ${words}`, 'aria-orientation': 'horizontal' });
  const text = h('div', { class: 'writing' }, before, tokens);
  const state = h('p', { class: 'muted status' });
  const think = thoughts({ modelOf, onPaint });
  const element = h('section', { class: 'continuation', 'data-type': type, 'aria-label': words },
    h('div', { class: 'head' }, h('h2', {}, words), state), text, think.element);
  const { current } = roving(tokens, '.tok', { next: ['ArrowRight', 'ArrowDown'], previous: ['ArrowLeft', 'ArrowUp'] });
  let output = { logprobs: [], tokens: [] };
  let painted = null;
  let walked = null; // the token whose features stay listed; null: the newest

  const cells = () => [...tokens.children];
  const thinking = (i) => output.tokens?.[i]?.top_features ?? null;
  function inspect(i) {
    const last = cells().findLastIndex((_, at) => thinking(at));
    const at = i ?? walked ?? last;
    if (at < 0 || !thinking(at)) return;
    cells().forEach((cell, j) => cell.classList.toggle('inspected', j === at));
    think.show(output.logprobs[at].token, thinking(at), painted);
  }
  function colour() {
    const values = cells().map((_, i) => thinking(i)?.find((one) => `${one.source}:${one.feature_index}` === painted)?.activation_value ?? 0);
    const most = Math.max(0, ...values);
    cells().forEach((cell, i) => paint(cell, values[i], most));
  }
  tokens.addEventListener('pointerover', (event) => {
    const cell = event.target.closest('.tok');
    if (cell) inspect(Number(cell.dataset.i));
  });
  tokens.addEventListener('pointerleave', () => inspect(null));
  tokens.addEventListener('focusin', (event) => {
    const cell = event.target.closest('.tok');
    if (!cell) return;
    walked = Number(cell.dataset.i);
    inspect(walked);
  });
  tips(tokens, '.tok', (cell) => candidates(output.logprobs[Number(cell.dataset.i)]));

  return {
    element, type, inspect: () => inspect(null),
    /** What stands before the generated text. */
    begin(nodes) {
      output = { logprobs: [], tokens: [] };
      walked = null;
      before.replaceChildren(...nodes);
      tokens.replaceChildren();
      think.clear();
      state.textContent = '';
    },
    /** A frame: the whole output so far. */
    show(next) {
      output = { ...next, logprobs: next.logprobs ?? [] };
      for (let i = tokens.childElementCount; i < output.logprobs.length; i++) {
        const { token, logprob } = output.logprobs[i];
        tokens.append(h('span', { class: 'tok', role: 'option', tabindex: -1, 'data-i': i, 'aria-label': `${visible(token)}, probability ${percent(logprob)}` }, face(token)));
      }
      if (tokens.firstElementChild && !tokens.querySelector('[tabindex="0"]')) current(tokens.firstElementChild);
      if (painted) colour();
      inspect(null);
    },
    status(what) { state.textContent = what; },
    paint(name) {
      painted = name;
      colour();
      inspect(null);
    },
    /** The features that are listed anywhere, so that their words can be asked for. */
    features: () => (output.tokens ?? []).flatMap((one) => one.top_features ?? []).map((one) => ({ source: one.source, index: one.feature_index })),
    tokens: () => output.logprobs.map(({ token }) => token),
    output: () => output,
    /** The first token that the other text does not have. */
    fork(i) { cells().forEach((cell, at) => cell.classList.toggle('fork', at === i)); },
  };
}
