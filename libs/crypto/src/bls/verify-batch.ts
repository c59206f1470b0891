/** Naming the bad items of a batch that can only be judged as a whole. */

/**
 * The items of a batch that `passes` refuses, found by halving: `k` bad of `n` cost about 2·k·log2 n calls, and never more than 2·n.
 * The caller has already seen the whole batch fail, or does not mind asking once more.
 *
 * @param passes whether all of some items are good; must be true for every part of a good batch
 */
export function namedBad<T>(items: readonly T[], passes: (part: readonly T[]) => boolean): T[] {
  if (items.length === 0 || passes(items)) return []
  return split(items, passes)
}

/** The bad ones of items that failed together. */
function split<T>(items: readonly T[], passes: (part: readonly T[]) => boolean): T[] {
  if (items.length === 1) return [...items]
  const middle = items.length >> 1
  const [left, right] = [items.slice(0, middle), items.slice(middle)]
  // A whole that failed and a left half that passes leave the bad one to the right half: no need to ask.
  if (passes(left)) return split(right, passes)
  return [...split(left, passes), ...namedBad(right, passes)]
}
