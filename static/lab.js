// The prompt lab: a text in, the features of every token out. What the page shows is one state
// (text, source, feature, marked tokens); it lives in the address, and every change asks the server.
import { request } from './api.js';
import { asking, passing } from './asking.js';
import * as calls from './calls.js';
import { h } from './dom.js';
import { labView } from './lab_view.js';
import { lanes } from './lanes.js';
import { knownMeaning, learn as learnMeanings } from './meanings.js';
import { featurePath } from './paths.js';
import { EXAMPLES } from './prompt.js';
import { catalogue } from './sources.js';
import * as address from './state.js';

const KEYS = [['Enter', 'runs'], ['← →', 'walk the tokens'], ['Space', 'marks a token'],
  ['Esc', 'clears the feature'], ['/', 'to the text']];

const UNKNOWN_DENSITY = 'The source has not been indexed, so densities are not known.';

/** A row of /api/search-all as one of /v1/activation/all. */
const asActivation = (row, marked) => ({
  index: Number(row.index), max_value: row.maxValue, max_value_index: row.maxValueIndex, values: row.values,
  sum_values: marked.reduce((sum, position) => sum + (row.values[position] ?? 0), 0), density: row.neuron?.frac_nonzero,
});

const strongest = (results) => new Map(results.map(({ token_position: position, top_features: list }) => [position,
  list.filter((one) => one.activation_value > 0)
    .map((one) => ({ feature: one.feature_index, value: one.activation_value }))]));

export function openLab(main, frame) {
  const view = labView(main, { run: runForm, halt, choose, type, mark, unmark: () => setMarked([]),
    setDensity, setDark,
    pathOf: (feature) => featurePath(model, state.source, feature),
    nameOf: (feature) => knownMeaning(state.source, feature)?.text ?? '', list: learn });
  const lane = lanes();
  const { ask, during, report } = asking({ progress: view.progress, lane });
  let model = '';
  let sources = [];
  /** @type {address.State} */
  let state = { text: '', source: '', feature: null, marked: [], density: null, dark: true };
  const set = () => sources.find(({ name }) => name === state.source)?.set;

  /* --- asking ------------------------------------------------------------------------------- */

  function showChoice() {
    const { url, whole } = address.link({ ...state, marked: [] });
    const commands = sources.length ? [calls.byToken(model, state),
      (state.density === null ? calls.wholeText : calls.rareInText)(model, state, set())]
      : [calls.tokenize(model, state)];
    if (sources.length && state.feature !== null) commands.unshift(calls.single(model, state));
    if (sources.length && state.dark) commands.push(calls.darkMatter(model, state));
    view.showChoice(state.feature, whole ? url : null, commands);
  }

  async function loadFeature() {
    const signal = lane.enter('feature');
    const { feature } = state;
    showChoice();
    if (feature === null) return view.showStrongest();
    try {
      const { data } = await ask(calls.single(model, state), signal);
      view.showFeature(feature, data.activation);
    } catch (error) {
      if (error.name !== 'AbortError') view.showStrongest();
      report(error, view.featureProblem, error.status === 0 ? run : null);
    }
  }

  /** Names are an extra: where they cannot be had, the numbers stand alone. */
  function learn(features) {
    learnMeanings(model, features.map((index) => ({ source: state.source, index }))).then(() => view.rename(), () => {});
  }

  async function loadWholeText() {
    const signal = lane.enter('all');
    const { marked, density } = state;
    view.showMarks(marked, density);
    try {
      if (density === null) {
        const { data } = await ask(calls.wholeText(model, state, set()), signal);
        view.showWholeText(data.activations, marked);
      } else {
        const { data } = await ask(calls.rareInText(model, state, set()), signal);
        view.showWholeText(data.result.map((row) => asActivation(row, marked)), marked);
        if (data.result.some(({ neuron }) => neuron?.indexed === false)) view.failWholeText(UNKNOWN_DENSITY, true);
      }
    } catch (error) {
      if (error.name !== 'AbortError') view.failWholeText(error.message);
    }
  }

  /** First what needs the model, then what is read from the cache after it. */
  async function loadFeatures(signal) {
    const { data, cache, ms } = await ask(calls.byToken(model, state), signal);
    const top = strongest(data.results);
    state.marked = state.marked.filter((position) => top.has(position));
    view.showTop(data.tokens, top, { cache, ms });
    view.stale(false);
    await Promise.all([loadFeature(), loadWholeText(), loadDark()]);
  }

  async function loadDark() {
    const signal = lane.enter('dark');
    view.enableDark(state.dark);
    if (!state.dark) return;
    try {
      const { data } = await ask(calls.darkMatter(model, state), signal);
      view.showDark(data);
    } catch (error) {
      if (error.name !== 'AbortError') view.failDark(error.message);
    }
  }

  async function loadTokens(signal) {
    const { data, cache, ms } = await ask(calls.tokenize(model, state), signal);
    view.showTokens(data.token_strings, data.prepend_bos, { cache, ms });
    view.stale(false);
    showChoice();
  }

  function stop() {
    lane.clear();
    view.form.busy(false);
  }

  /** Computes and shows the state. */
  async function run() {
    stop();
    view.problem.clear();
    if (state.text === '') {
      view.hide();
      view.problem.say('Type a text first.');
      return view.form.focus();
    }
    document.title = `${state.text.slice(0, 40)} · darkmatter`;
    const signal = lane.enter('run');
    view.form.busy(true);
    view.stale(true);
    try {
      if (sources.length) await during('Computing features…', () => loadFeatures(signal));
      else await during('Reading tokens…', () => loadTokens(signal));
    } catch (error) {
      if (error.name !== 'AbortError') view.hide();
      report(error, view.problem, passing(error) ? run : null);
    }
    if (!signal.aborted) view.form.busy(false);
  }

  /* --- what a person does ------------------------------------------------------------------- */

  function go(change, push) {
    state = { ...state, ...change };
    address.write(state, { push });
  }

  function runForm() {
    const text = view.form.text();
    if (text !== state.text) view.forget();
    go({ text, source: view.form.source(), marked: text === state.text ? state.marked : [] }, true);
    run();
  }

  function halt() {
    stop();
    view.hide();
    view.problem.say('Stopped.', { label: 'Run again', run });
  }

  /** Choosing the chosen feature lets go of it; so does null. */
  function choose(feature) {
    go({ feature: feature === state.feature ? null : feature }, true);
    during('Reading the feature…', loadFeature);
  }

  function type(text) {
    if (!/^\d{0,9}$/.test(text)) {
      return view.featureProblem.say(`A feature is a whole number from 0, not “${text}”.`);
    }
    go({ feature: text === '' ? null : Number(text) }, true);
    during('Reading the feature…', loadFeature);
  }

  function setMarked(marked) {
    go({ marked }, false);
    showChoice();
    during('Ranking the features…', loadWholeText);
  }

  function setDensity(density) {
    go({ density }, false);
    showChoice();
    during('Ranking the features…', loadWholeText);
  }

  function setDark(dark) {
    go({ dark }, false);
    showChoice();
    during('Measuring what is unexplained…', loadDark);
  }

  function mark(position) {
    if (!sources.length) return;
    const others = state.marked.filter((other) => other !== position);
    const marked = others.length < state.marked.length ? others : [...others, position].sort((a, b) => a - b);
    setMarked(marked);
  }

  document.addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape' && state.feature !== null) choose(null);
    else if (event.key === '/' && !event.target.closest('input, textarea, select')) {
      event.preventDefault();
      view.form.focus();
    }
  });

  /* --- beginning ---------------------------------------------------------------------------- */

  /** Shows a state from the address; what it leaves open is the example and the first source. */
  function apply(wanted) {
    const named = sources.some(({ name }) => name === wanted.source);
    const usual = sources.find(({ site }) => site === 'residual stream') ?? sources[0];
    state = { ...wanted, text: wanted.text ?? EXAMPLES[0], source: named ? wanted.source : usual?.name ?? '' };
    view.form.fill(state);
    run();
    if (wanted.source && !named && sources.length) {
      view.problem.say(`This server has no source “${wanted.source}”; ${state.source} is shown instead.`);
    }
  }

  async function configure() {
    const { data } = await request('/v1/capabilities', undefined, { signal: lane.enter('start') });
    model = data.model;
    sources = catalogue(data);
    view.form.configure(sources, data.token_limit);
    frame.showSources(model, sources);
    if (!sources.length) {
      main.append(h('p', { class: 'muted' },
        `${model} is served without SAEs, so there are tokens but no features; --saes FOLDER adds them.`));
    }
  }

  async function start() {
    view.problem.clear();
    try {
      await during('Waiting for the server…', configure);
    } catch (error) {
      return report(error, view.problem, start);
    }
    return apply(address.read());
  }

  address.onBack(apply);
  frame.keys(KEYS);
  start();
}
