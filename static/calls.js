// The requests behind the prompt lab: what the page sends is what its curl panel prints.

const PER_TOKEN = 10;
const WHOLE_TEXT = 20;

export const byToken = (model, { text, source }) => ({
  path: '/v1/activation/topk-by-token',
  title: `The ${PER_TOKEN} strongest features of each token`,
  body: { prompt: text, model, source, top_k: PER_TOKEN, ignore_bos: true },
});

export const wholeText = (model, { text, source, marked }, set) => ({
  path: '/v1/activation/all',
  title: `The ${WHOLE_TEXT} strongest features of the text`,
  body: {
    prompt: text, model, source_set: set, selected_sources: [source],
    sort_by_token_indexes: marked, ignore_bos: true, num_results: WHOLE_TEXT,
  },
});

/** The same without the features that fire on more than a share of the indexed tokens. */
export const rareInText = (model, { text, source, marked, density }, set) => ({
  path: '/api/search-all',
  title: `The ${WHOLE_TEXT} strongest features of the text that are at most so dense`,
  body: {
    modelId: model, sourceSet: set, text, selectedLayers: [source], sortIndexes: marked,
    ignoreBos: true, densityThreshold: density, numResults: WHOLE_TEXT,
  },
});

export const single = (model, { text, source, feature }) => ({
  path: '/v1/activation/single',
  title: `Feature ${feature} along the text`,
  body: { prompt: text, model, source, index: String(feature) },
});

/** Only the errors: what becomes of the text without them is asked for on the tour. */
export const darkMatter = (model, { text, source }) => ({
  path: '/v1/dark-matter',
  title: 'What the SAE leaves unexplained of each token, and what that votes for',
  body: { prompt: text, model, source, runs: [], top: 5 },
});

export const tokenize = (model, { text }) => ({
  path: '/v1/tokenize',
  title: 'The tokens',
  body: { model, text, prepend_bos: true },
});
