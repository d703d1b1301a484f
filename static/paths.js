// Addresses of the site: the same shape as neuronpedia.org's, so that links carry over.
const part = encodeURIComponent;

export const modelPath = (model) => `/${part(model)}`;
export const sourcePath = (model, source) => `/${part(model)}/${part(source)}`;
export const reportPath = (model, source) => `${sourcePath(model, source)}/report`;
export const featurePath = (model, source, index) => `${sourcePath(model, source)}/${index}`;
export const labPath = (query) => `/?${new URLSearchParams(query)}`;
export const toolPath = (tool, query) => `/${tool}?${new URLSearchParams(query)}`.replace(/\?$/, '');
export const searchPath = (query) => `/search?${new URLSearchParams(query)}`;

/** features: [{source, index, strength?}], as "source:index:strength" each. */
export function steerPath(features, query = {}) {
  const list = features.map(({ source, index, strength }) => [source, index, strength].filter((one) => one !== undefined).join(':'));
  return toolPath('steer', { ...query, features: list.join(',') });
}

/** features: [{model, source, index}], written as Neuronpedia's quick lists are. */
export function comparePath(features) {
  const list = features.map(({ model, source, index }) => ({ modelId: model, layer: source, index: String(index) }));
  return `/compare?${new URLSearchParams({ features: JSON.stringify(list) })}`;
}

/** Rewrites single parameters of this page's address; null and '' remove one. */
export function setQuery(changes, { push = false } = {}) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === '') query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  const url = location.pathname + (text ? `?${text}` : '');
  if (push && url !== location.pathname + location.search) history.pushState(null, '', url);
  else history.replaceState(history.state, '', url);
}
