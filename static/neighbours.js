// The features whose decoder rows point the same way, in this source or another one.
import { request } from './api.js';
import { label } from './dashboard.js';
import { h } from './dom.js';
import { capabilities } from './frame.js';
import { comparePath, featurePath } from './paths.js';
import { describe, options } from './sources.js';

const cosines = (data) => {
  const reply = data.data ?? data;
  const rows = reply.topkDecoderCossimFeatures ?? reply.topk_decoder_cossim_features ?? [];
  return rows.map((row) => ({
    source: row.feature.source, index: Number(row.feature.index), cosine: row.cosineSimilarity ?? row.cosine_similarity,
    text: label(row.description),
  }));
};

export function neighboursPane(feature) {
  const list = h('ol', { class: 'nearest' });
  const said = h('p', { class: 'muted', role: 'status' }, 'Reading…');
  const picker = h('select', { id: 'nearest-source', 'aria-label': 'Nearest features in', hidden: true, onchange: () => load(picker.value) });
  const compare = h('a', { class: 'quiet', hidden: true }, 'Compare');
  const element = h('section', { 'aria-labelledby': 'nearest' },
    h('div', { class: 'head' }, h('h2', { id: 'nearest' }, `Nearest ${describe(feature.source).thing}s`), compare), picker, said, list);
  let turn = 0; // a newer question makes an older answer void

  function draw(rows) {
    list.replaceChildren(...rows.map((row) => h('li', {},
      h('a', { href: featurePath(feature.model, row.source, row.index), class: 'near' },
        h('span', { class: 'index' }, String(row.index)),
        h('span', { class: 'text' }, row.text || '\u00a0'),
        h('span', { class: 'value' }, row.cosine.toFixed(3))))));
    compare.href = comparePath([feature, ...rows.slice(0, 3).map((row) => ({ model: feature.model, ...row }))]);
    compare.hidden = rows.length === 0;
  }

  async function load(target) {
    const mine = ++turn;
    said.hidden = false;
    said.textContent = 'Reading…';
    try {
      const { data } = await request('/api/cossim', {
        modelId: feature.model, source: feature.source, index: feature.index, targetModelId: feature.model, targetSourceId: target,
      });
      const rows = cosines(data).filter((row) => row.source !== feature.source || row.index !== feature.index);
      if (mine !== turn) return;
      said.hidden = rows.length > 0;
      said.textContent = 'None.';
      draw(rows);
    } catch (error) {
      if (mine !== turn || list.childElementCount) return;
      said.textContent = error.message;
    }
  }

  async function start() {
    load(feature.source);
    const { catalogue } = await capabilities();
    const mine = catalogue.find(({ name }) => name === feature.source)?.outputs;
    const alike = catalogue.filter(({ outputs }) => outputs === mine);
    picker.replaceChildren(...options(alike));
    picker.value = feature.source;
    picker.hidden = alike.length < 2;
  }
  return { element, start: () => start().catch(() => {}) };
}
