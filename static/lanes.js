// Requests by what they are for: a newer one ends the older.

export function lanes() {
  const open = new Map();
  return {
    enter(name) {
      open.get(name)?.abort();
      const controller = new AbortController();
      open.set(name, controller);
      return controller.signal;
    },
    clear() {
      for (const controller of open.values()) controller.abort();
      open.clear();
    },
  };
}
