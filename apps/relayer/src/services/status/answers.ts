/** Answers that are good for all who ask within a moment. */

/** Creates what keeps them for so long at most. A failure is nobody's but theirs who waited for it. */
export function createAnswers<T>(now: () => number, keptMs: number) {
  const answers = new Map<string, { at: number; value: Promise<T> }>()
  return {
    /** The answer to `key` that was asked for within `freshMs`, else a new one. */
    get(key: string, freshMs: number, find: () => Promise<T>): Promise<T> {
      const at = now()
      for (const [other, answer] of answers) if (at - answer.at >= keptMs) answers.delete(other)
      const known = answers.get(key)
      if (known !== undefined && at - known.at < freshMs) return known.value
      const answer = { at, value: find() }
      answers.set(key, answer)
      answer.value.catch(() => {
        if (answers.get(key) === answer) answers.delete(key)
      })
      return answer.value
    },
    /** How many are kept. */
    size: (): number => answers.size,
  }
}
