// Sources in words: "2-gemmascope-res-2k" is "Layer 2 · residual stream · 2k features", "2" the neurons
// of layer 2 and "2-mlp_out" the dimensions of what its MLP adds.
import { h } from './dom.js';

const POINTS = {
  resid_pre: 'residual stream, before', resid_mid: 'residual stream, middle',
  resid_post: 'residual stream', mlp_in: 'MLP input', mlp_out: 'MLP output',
  attn_out: 'attention output', z: 'attention heads',
};
const SITES = [
  [/transcoder/, 'transcoder'], [/(^|-)(res|resid[a-z_]*)(-|$)/, 'residual stream'],
  [/(^|-)mlp/, 'MLP output'], [/(^|-)att/, 'attention heads'],
];

function thousands(count) {
  if (count >= 1 << 20) return `${Math.round(count / (1 << 20))}m`;
  return count >= 1024 ? `${Math.round(count / 1024)}k` : String(count);
}

/** The model's own neurons: dense and signed, so they have no density and no SAE. */
function neurons(name) {
  const [, layer, out] = /^(\d+)(-mlp_out)?$/.exec(name) ?? [];
  if (layer === undefined) return null;
  const site = out ? 'MLP output' : 'MLP neurons';
  return {
    name, layer: Number(layer), set: out ? 'mlp_out' : 'neurons', site, outputs: null, thing: out ? 'dimension' : 'neuron', dense: true,
    label: `Layer ${layer} · ${site}${out ? ' · dimension by dimension' : ''}`,
  };
}

/** Names of the neurons of every layer, in the order of depth. */
export const neuronNames = (layers) => Array.from({ length: layers }, (_, layer) => [String(layer), `${layer}-mlp_out`]).flat();

/**
 * Parts of a source's name, in words; `details` (capabilities' source_details) wins where it is.
 * @returns {{name: string, layer: number, set: string, site: string, outputs: number|null, thing: string, dense: boolean, label: string}}
 */
export function describe(name, details) {
  const own = details ? null : neurons(name);
  if (own) return own;
  const [, layer, rest] = /^(\d+)-(.*)$/.exec(name) ?? [null, details?.layer ?? 0, name];
  const [stem, suffix = ''] = rest.split('__');
  const set = details?.source_set ?? stem;
  let site = SITES.find(([pattern]) => pattern.test(stem))?.[1] ?? stem;
  if (details?.transcoder) site = 'transcoder';
  else if (details?.point) site = POINTS[details.point] ?? details.point;
  const width = details?.d_sae ? thousands(details.d_sae) : /(?:^|-)(\d+[km])$/.exec(stem)?.[1];
  const parts = [`Layer ${layer}`, site];
  if (width) parts.push(`${width} features`);
  if (suffix) parts.push(suffix.replace(/^(all-)?l0-/, (_, all) => `${all ? 'all ' : ''}L0 `));
  return { name, layer: Number(layer), set, site, outputs: details?.d_out ?? null, thing: 'feature', dense: false, label: parts.join(' · ') };
}

/** All sources of the server, by layer, the residual stream first. */
export function catalogue(capabilities) {
  const details = new Map((capabilities.source_details ?? []).map((entry) => [entry.name, entry]));
  const order = (site) => (site === 'residual stream' ? '' : site);
  return (capabilities.sources ?? []).map((name) => describe(name, details.get(name)))
    .sort((a, b) => a.layer - b.layer || order(a.site).localeCompare(order(b.site))
      || a.name.localeCompare(b.name, 'en', { numeric: true }));
}

/** <option>s grouped by layer. Two sources of the same words are told apart by their names. */
export function options(sources) {
  const seen = new Map();
  for (const { label } of sources) seen.set(label, (seen.get(label) ?? 0) + 1);
  const groups = new Map();
  for (const source of sources) {
    if (!groups.has(source.layer)) groups.set(source.layer, h('optgroup', { label: `Layer ${source.layer}` }));
    const label = seen.get(source.label) > 1 ? `${source.label} (${source.name})` : source.label;
    groups.get(source.layer).append(h('option', { value: source.name }, label));
  }
  return [...groups.values()];
}
