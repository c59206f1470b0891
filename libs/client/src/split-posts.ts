/**
 * Many items in posts that whoever stands before the relayer takes, for our sidecar and the commands for bundles: what is refused as too
 * large (413) is halved, until one item goes alone.
 */

import { HttpError } from '@dvt-relayer/common/http/client.ts'

/** Below the 1 MiB that nginx takes where it is not told otherwise. */
const MOST_BYTES = 960 * 1024
/** What stands around the items, with the longest share index. */
const FRAME_BYTES = 48

/** What is said of a post that was too large, and of its limit. */
export const TOO_LARGE =
  'post too large for the relayer or a proxy before it (413), smaller ones follow: raise its limit, client_max_body_size in nginx'

/** The same of an item that went alone. */
export const TOO_LARGE_ALONE =
  'one signature alone is too large for the relayer or a proxy before it (413), it is tried again: raise its limit, client_max_body_size in nginx'

/** The relayer, or a proxy before it, takes no body of this size. */
export const isTooLarge = (error: unknown): boolean => error instanceof HttpError && error.status === 413

/** What has come of a post; `too_large` is nothing yet, and for more than one item only. */
export type PostOutcome = 'too_large' | 'done' | 'stop'

interface Part<Item> {
  readonly items: readonly Item[]
  readonly bytes: number
}

interface SplitOptions<Item> {
  /** What of an item stands in a post. All of it is ASCII. */
  wordsOf(item: Item): unknown
  /** Of one post; as many as there are when left out. */
  readonly mostItems?: number
  /** Told once for each size: the next posts are half as large. */
  onTooLarge(items: readonly Item[], bytes: number): void
}

/** Creates what splits items. It remembers which size was too large. */
export function createSplitPosts<Item>({ wordsOf, mostItems = Infinity, onTooLarge }: SplitOptions<Item>) {
  let mostBytes = MOST_BYTES

  /** Items in parts whose bodies have at most so many bytes, or one item. */
  function* partsOf(all: readonly Item[]): Generator<Part<Item>> {
    let items: Item[] = []
    let bytes = FRAME_BYTES
    for (const item of all) {
      // One comma each.
      const more = JSON.stringify(wordsOf(item)).length + 1
      if (items.length > 0 && (items.length >= mostItems || bytes + more > mostBytes)) {
        yield { items, bytes }
        items = []
        bytes = FRAME_BYTES
      }
      items.push(item)
      bytes += more
    }
    if (items.length > 0) yield { items, bytes }
  }

  function shrink({ items, bytes }: Part<Item>): void {
    const half = Math.floor(bytes / 2)
    if (half >= mostBytes) return
    mostBytes = half
    onTooLarge(items, bytes)
  }

  /** Posts all of them, one part after the other, until one says to stop. Returns what was not posted then. */
  return async (all: readonly Item[], post: (part: Part<Item>) => Promise<PostOutcome>): Promise<Item[]> => {
    const waiting = [...partsOf(all)]
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      const outcome = await post(part)
      if (outcome === 'stop') break
      if (outcome === 'done') continue
      shrink(part)
      waiting.push(...partsOf([part, ...waiting.splice(0)].flatMap(({ items }) => items)))
    }
    return waiting.flatMap(({ items }) => items)
  }
}
