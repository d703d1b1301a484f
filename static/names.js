// What features are called: an explanation where there is one, else the automatic label.
import { request } from './api.js';
import { explanation, label } from './dashboard.js';

const AT_ONCE = 100; // features asked for together; the route takes 250

/** Names of a model's features, asked for when they are first needed and kept. */
export function featureNames() {
  const known = new Map(); // "source/feature" -> words; '' where a feature has none
  const key = (source, feature) => `${source}/${feature}`;

  async function ask(model, source, features, signal) {
    const body = features.map((index) => ({ modelId: model, layer: source, index, maxActsToReturn: 0 }));
    const { data } = await request('/api/features', body, { signal });
    for (const row of data) {
      const [first] = (row.explanations ?? []).map(explanation).filter(({ text }) => text);
      known.set(key(source, row.index), first?.text ?? label(row.label));
    }
  }

  return {
    of: (source, feature) => known.get(key(source, feature)) ?? '',
    /** Resolves once all of them are known; what cannot be had stays without a name. */
    async learn(model, source, features, signal) {
      const missing = [...new Set(features)].filter((feature) => !known.has(key(source, feature)));
      for (let i = 0; i < missing.length; i += AT_ONCE) {
        await ask(model, source, missing.slice(i, i + AT_ONCE), signal);
      }
    },
  };
}
