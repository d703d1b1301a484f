// The steering playground: features turned up or down, and the same text continued with and without.
import { requestStream } from './api.js';
import { h } from './dom.js';
import { knownMeaning, learn } from './meanings.js';
import { setQuery } from './paths.js';
import { featurePanel } from './steer_features.js';
import { continuation } from './steer_output.js';
import { options } from './sources.js';
import { queryOf, textTool } from './tool.js';

const METHODS = [['SIMPLE_ADDITIVE', 'Add'], ['ORTHOGONAL_DECOMP', 'Scale its direction'], ['PROJECTION_CAP', 'Cap its direction']];
const FIELDS = [ // name in the address, in the request, words, default, least, most, step
  ['n', 'n_completion_tokens', 'Tokens', 32, 1, 512, 1], ['temp', 'temperature', 'Temperature', 0.5, 0, 5, 0.1],
  ['seed', 'seed', 'Seed', 16, 0, 1e9, 1], ['freq', 'freq_penalty', 'Freq. penalty', 1, -5, 5, 0.1],
  ['times', 'strength_multiplier', 'Strengths ×', 1, -10, 10, 0.1],
];
const WATCHED = 5;
const SUGGESTED = 4;
const LEARN_MS = 150;

/** "source:index:strength,…" of the address. */
const readFeatures = () => (queryOf('features') ?? '').split(',').map((one) => one.split(':')).filter(([source, index]) => source && /^\d{1,9}$/.test(index ?? ''))
  .map(([source, index, strength]) => ({ source, index: Number(index), strength: strength !== undefined && Number.isFinite(Number(strength)) ? Number(strength) : undefined }));

function settings(state, { onChange }) {
  const method = h('select', { id: 'method', onchange: () => onChange({ method: method.value }) }, METHODS.map(([name, words]) => h('option', { value: name }, words)));
  method.value = state.method;
  const watch = h('select', { id: 'watch', onchange: () => onChange({ watch: watch.value }) });
  const field = (id, words, control) => h('div', { class: 'setting' }, h('label', { for: id }, words), control);
  const numbers = FIELDS.map(([name, key, words, usual, least, most, step]) => {
    const input = h('input', { type: 'number', id: `set-${name}`, min: least, max: most, step, onchange: () => {
      const value = input.value.trim() === '' ? usual : Number(input.value);
      input.value = String(Math.min(most, Math.max(least, value)));
      onChange({ [key]: Number(input.value) });
    } });
    input.value = String(state[key]);
    return field(`set-${name}`, words, input);
  });
  const watchField = field('watch', 'Watch the features of', watch);
  watchField.classList.add('wide');
  const methodField = field('method', 'Method', method);
  methodField.classList.add('wide');
  const element = h('section', { class: 'settings', 'aria-labelledby': 'settings-title' },
    h('div', { class: 'head' }, h('h2', { id: 'settings-title' }, 'Settings')), h('div', { class: 'fields' }, methodField, numbers, watchField));
  return {
    element,
    configure(sources) {
      watch.replaceChildren(h('option', { value: '' }, 'nothing'), ...options(sources));
      watch.value = state.watch;
      watchField.hidden = sources.length === 0;
    },
  };
}

export function openSteer(main, frame) {
  const state = {
    features: [], method: METHODS.some(([name]) => name === queryOf('method')) ? queryOf('method') : 'SIMPLE_ADDITIVE', watch: queryOf('watch'),
    chat: queryOf('mode') === 'chat', ...Object.fromEntries(FIELDS.map(([name, key, , usual]) => [key, Number.isFinite(Number(queryOf(name) ?? NaN)) ? Number(queryOf(name)) : usual])),
  };
  let model = '';
  let template = false; // the model has one for conversations
  let past = []; // of a conversation: [{user, STEERED, DEFAULT}]
  let generated = false;
  const modelOf = () => model;
  const columns = [['STEERED', 'Steered'], ['DEFAULT', 'Default']].map(([type, words]) => continuation(type, { words, modelOf, onPaint: paintBy }));
  const panel = featurePanel(state, { modelOf, onInput: write, onSettle: settled });
  const dials = settings(state, { onChange(what) { Object.assign(state, what); panel.draw(); settled(); } });
  const modes = [[false, 'Text'], [true, 'Chat']].map(([chat, words]) => h('button', { type: 'button', 'data-chat': String(chat), onclick: () => setMode(chat) }, words));
  const hint = h('p', { class: 'muted', id: 'chathint' });
  const reply = h('button', { type: 'button', class: 'plain', id: 'reply', hidden: true, onclick: keep }, 'Keep this and reply');
  const restart = h('button', { type: 'button', class: 'plain', id: 'restart', hidden: true, onclick: () => { past = []; tool.run(); } }, 'New conversation');
  const idle = h('p', { class: 'muted', id: 'idle' }, 'Choose a feature, then Generate. Without one the text is just continued.');
  const tool = textTool(main, frame, {
    title: 'Steering', lead: 'Turn features up or down and see what the model writes, beside what it would have written.',
    working: 'Writing…', verb: 'Generate', placeholder: 'Type the beginning of a text', keys: [['← →', 'walk the tokens']],
    controls: [h('div', { class: 'switch', role: 'group', 'aria-label': 'What is continued' }, modes), hint],
    known, compute, automatic: () => state.features.length > 0 || generated,
  });
  const beside = h('div', { class: 'steering' });
  main.insertBefore(beside, tool.results);
  beside.append(h('div', { class: 'setup' }, panel.element, dials.element), h('div', { class: 'outputs' }, tool.progress.element, tool.problem.element, idle, tool.results));
  tool.results.append(h('div', { class: 'columns' }, columns.map(({ element }) => element)), h('p', { class: 'actions' }, reply, restart));

  function write() {
    const features = state.features.map(({ source, index, strength }) => `${source}:${index}:${strength}`).join(',');
    const numbers = FIELDS.map(([name, key, , usual]) => [name, state[key] === usual ? null : state[key]]);
    setQuery({ features, method: state.method === 'SIMPLE_ADDITIVE' ? null : state.method, mode: state.chat ? 'chat' : null, ...Object.fromEntries(numbers) });
    if (state.watch !== state.usual) setQuery({ watch: state.watch || 'none' });
    showCommands();
  }
  function settled() {
    write();
    if (state.features.length || generated) tool.run();
  }
  function setMode(chat) {
    state.chat = chat;
    past = [];
    showMode();
    settled();
  }
  function showMode() {
    for (const button of modes) button.setAttribute('aria-pressed', String((button.dataset.chat === 'true') === state.chat));
    modes[1].disabled = !template;
    hint.textContent = template ? '' : `${model} is a base model without a chat template: it continues text.`;
  }
  function paintBy(name) {
    const next = columns.some(({ painted }) => painted === name) ? null : name;
    for (const column of columns) {
      column.painted = next;
      column.paint(next);
    }
  }
  async function known(data) {
    ({ model } = data);
    template = data.has_chat_template === true;
    if (!template) state.chat = false;
    const sources = data.catalogue;
    const wanted = readFeatures();
    const usual = (sources.find(({ site }) => site === 'residual stream') ?? sources[0])?.name ?? '';
    state.usual = wanted[0]?.source ?? usual;
    if (state.watch === 'none') state.watch = '';
    else if (!sources.some(({ name }) => name === state.watch)) state.watch = sources.some(({ name }) => name === state.usual) ? state.usual : usual;
    panel.configure(sources, usual);
    dials.configure(sources);
    showMode();
    if (!sources.length) idle.textContent = `${model} is served without SAEs, so there is nothing to steer with; Generate continues the text. --saes FOLDER adds some.`;
    const failed = [];
    for (const one of wanted) {
      await learn(model, [one]).then(() => state.features.push({ ...one, strength: one.strength ?? suggestion(one) }), (error) => failed.push(error.message));
    }
    panel.draw();
    if (failed.length) tool.problem.say(failed[0]);
    suggest();
  }
  const suggestion = ({ source, index }) => {
    const maximum = knownMeaning(source, index)?.maximum;
    return maximum > 0 ? Number((3 * maximum).toPrecision(3)) : 50;
  };
  /** What is active on the last token can be turned up or down. */
  async function suggest() {
    if (!state.watch || state.chat) return panel.suggest([]);
    try {
      const signal = tool.lane.enter('suggest');
      const { data } = await tool.ask({ path: '/v1/activation/topk-by-token', body: { prompt: tool.form.text(), source: state.watch, top_k: SUGGESTED } }, signal);
      const last = data.results[data.results.length - 1];
      const found = last.top_features.filter((one) => one.activation_value > 0).map((one) => ({ source: state.watch, index: one.feature_index, value: one.activation_value }));
      await learn(model, found, signal);
      panel.suggest(found);
    } catch {
      panel.suggest([]);
    }
  }

  const common = () => ({
    ...Object.fromEntries(FIELDS.map(([, key]) => [key, state[key]])), steer_method: state.method, n_logprobs: WATCHED,
    ...(state.watch ? { sources: [state.watch], top_features: WATCHED } : {}),
    ...(state.features.length ? { features: state.features.map(({ source, index, strength }) => ({ source, index, strength })) } : {}),
  });
  const types = () => (state.features.length ? ['STEERED', 'DEFAULT'] : ['DEFAULT']);
  const messages = (type, text) => [...past.flatMap((turn) => [{ role: 'user', content: turn.user }, { role: 'assistant', content: turn[type] }]), { role: 'user', content: text }];
  /** The requests of one press of the button: conversations that have parted are asked for one by one. */
  function calls(text) {
    if (!state.chat) return [{ path: '/v1/steer/completion', title: 'Both continuations', body: { prompt: text, types: types(), ...common() } }];
    const one = (some) => ({ path: '/v1/steer/completion-chat', title: some.join(' and '), body: { prompt: messages(some[0], text), types: some, steer_special_tokens: false, ...common() } });
    return past.length ? types().map((type) => one([type])) : [one(types())];
  }
  const showCommands = () => tool.curl.show(calls(tool.text()));

  /** The first token in which the two texts differ is marked in both. */
  function showFork() {
    const [a, b] = columns.map((column) => column.tokens());
    const at = a.findIndex((token, i) => token !== b[i]);
    for (const column of columns) column.fork(a.length && b.length && at < b.length ? at : -1);
  }
  let learning = null;
  function learnSoon() {
    learning ??= setTimeout(async () => {
      learning = null;
      try {
        await learn(model, columns.flatMap((column) => column.features()));
        for (const column of columns) column.inspect();
      } catch {
        // Numbers stand without words.
      }
    }, LEARN_MS);
  }
  const said = (role, words) => h('p', { class: `turn ${role}` }, h('strong', {}, role), words);
  function begin(text) {
    for (const column of columns) {
      column.begin(state.chat ? [...past.flatMap((turn) => [said('user', turn.user), said('assistant', turn[column.type])]), said('user', text)] : [text]);
      column.element.hidden = !types().includes(column.type);
    }
    reply.hidden = true;
    restart.hidden = !state.chat || past.length === 0;
    idle.hidden = true;
    tool.results.hidden = false;
    tool.results.classList.remove('stale');
  }
  async function compute(text, { signal, onBusy }) {
    generated = true;
    showCommands();
    begin(text);
    suggest();
    const started = performance.now();
    const progress = (column, verb) => {
      const n = column.tokens().length;
      const seconds = (performance.now() - started) / 1000;
      column.status(n ? `${n} tokens${verb} · ${(n / seconds).toFixed(n / seconds < 10 ? 1 : 0)} tokens/s` : '');
    };
    await Promise.all(calls(text).map(({ path, body }) => requestStream(path, { ...body, stream: true }, {
      signal, onBusy,
      onFrame({ outputs }) {
        for (const output of outputs) {
          const column = columns.find(({ type }) => type === output.type);
          column.show(output);
          progress(column, '');
        }
        showFork();
        learnSoon();
      },
    })));
    reply.hidden = !state.chat;
  }
  /** The turn becomes part of the conversation; the text box waits for the next one. */
  function keep() {
    const answer = (type) => columns.find((column) => column.type === type).output().chat_template?.at(-1)?.content ?? '';
    past.push({ user: tool.text(), DEFAULT: answer('DEFAULT'), STEERED: types().includes('STEERED') ? answer('STEERED') : answer('DEFAULT') });
    reply.hidden = true;
    tool.form.fill({ text: '', source: '' });
    tool.form.focus();
  }
  tool.start();
}
