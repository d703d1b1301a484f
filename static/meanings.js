// What features mean in words, and their maxima: asked for once each, many in one request.
import { request } from './api.js';
import { feature, meaning } from './dashboard.js';

const PER_REQUEST = 100; // the route takes 250
const known = new Map();

const key = (source, index) => `${source} ${index}`;

/** What is known already: {text, isLabel, maximum, indexed}, or undefined. */
export const knownMeaning = (source, index) => known.get(key(source, index));

/** @param features [{source, index}]; afterwards knownMeaning has them all */
export async function learn(model, features, signal) {
  const unknown = new Map(features.map((one) => [key(one.source, one.index), one]).filter(([name]) => !known.has(name)));
  const list = [...unknown.values()];
  for (let i = 0; i < list.length; i += PER_REQUEST) {
    const body = list.slice(i, i + PER_REQUEST).map(({ source, index }) => ({ modelId: model, layer: source, index: String(index), maxActsToReturn: 0 }));
    const { data } = await request('/api/features', body, { signal });
    for (const row of data) {
      const one = feature(row);
      known.set(key(one.source, one.index), { ...meaning(one), maximum: one.maximum, indexed: one.indexed });
    }
  }
}
