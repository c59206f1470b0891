/**
 * Items in the order of their last changes: what changed after a revision is found by halving, without a look at what did not, and is
 * one end of the order.
 */

/** An item: it does not change, another one takes its part. The order writes down where it stands. */
export interface Ordered {
  readonly revision: number
  place: number
}

/** Places of items that left, at least, before the others close up. */
const FEW = 1000

/** Creates the order. Revisions come in ascending order. */
export function createChangeOrder<T extends Ordered>() {
  /** Of an item that left its revision stays, so that the order can be halved. */
  let places: (T | number)[] = []
  let size = 0
  const isItem = (at: T | number | undefined): at is T => typeof at === 'object'

  function closeUp(): void {
    places = places.filter(isItem)
    for (const [place, item] of places.entries()) if (isItem(item)) item.place = place
  }

  return {
    /** Takes in what changed last. */
    push(item: T): void {
      item.place = places.length
      places.push(item)
      size++
    },

    /** Takes out an item that stands in it. */
    remove(item: T): void {
      places[item.place] = item.revision
      size--
      if (places.length > 2 * size + FEW) closeUp()
    },

    /** The place of the first item that changed after a revision: the same for all revisions between two changes, until something changes. */
    placeAfter(revision: number): number {
      let [low, high] = [0, places.length]
      while (low < high) {
        const middle = (low + high) >> 1
        const at = places[middle]
        if ((isItem(at) ? at.revision : (at ?? 0)) > revision) high = middle
        else low = middle + 1
      }
      while (low < places.length && !isItem(places[low])) low++
      return low
    },

    /** The items from a place on, the one that changed last at the end. */
    from: (place: number): T[] => places.slice(place).filter(isItem),

    size: (): number => size,

    /** Forgets all items. */
    clear(): void {
      places = []
      size = 0
    },
  }
}
