/** A line in which keys take turns: who has many items in it is served as often as who has one. */

/** Creates an empty line. */
export function createFairLine<T>() {
  const lines = new Map<string, T[]>()
  return {
    push(key: string, item: T): void {
      const line = lines.get(key)
      if (line === undefined) lines.set(key, [item])
      else line.push(item)
    },
    /** The oldest item of the key whose turn it is. */
    shift(): T | undefined {
      for (const [key, line] of lines) {
        const item = line.shift()
        lines.delete(key)
        if (line.length > 0) lines.set(key, line)
        return item
      }
      return undefined
    },
    /** How many keys have items in it. */
    size: (): number => lines.size,
    /** Takes all items out. */
    clear(): T[] {
      const all = [...lines.values()].flat()
      lines.clear()
      return all
    },
  }
}
