/** A line in which keys take turns: who has many items in it is served as often as who has one. */

/** Creates an empty line. */
export function createFairLine<T>() {
  const lines = new Map<string, T[]>()
  let count = 0
  return {
    push(key: string, item: T): void {
      count++
      const line = lines.get(key)
      if (line === undefined) lines.set(key, [item])
      else line.push(item)
    },
    /** The oldest item of the key whose turn it is. */
    shift(): T | undefined {
      for (const [key, line] of lines) {
        const item = line.shift()
        count--
        lines.delete(key)
        if (line.length > 0) lines.set(key, line)
        return item
      }
      return undefined
    },
    /** Takes out the newest item of the key that has the most, the first of those in the line. */
    popOfMost(): T | undefined {
      let [key, most]: [string, T[]] = ['', []]
      for (const [name, line] of lines) if (line.length > most.length) [key, most] = [name, line]
      const item = most.pop()
      if (item === undefined) return undefined
      count--
      if (most.length === 0) lines.delete(key)
      return item
    },
    /** How many keys have items in it. */
    size: (): number => lines.size,
    /** How many items are in it. */
    count: (): number => count,
    /** Takes all items out. */
    clear(): T[] {
      const all = [...lines.values()].flat()
      lines.clear()
      count = 0
      return all
    },
  }
}
