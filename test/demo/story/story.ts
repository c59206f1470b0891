/** What the demo prints: a line when something has happened, with the time since the start, and a table at the end. */

export interface Story {
  /** One line. */
  say(text: string): void
  /** Runs a step. How long it took goes to the table under `name`; `line` says what has happened. */
  step<T>(name: string, run: () => Promise<T>, line: (result: T) => string): Promise<T>
  /** Adds a row to the table. */
  note(name: string, value: string): void
  /** Prints the table. */
  table(): void
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`

/** Creates a story that prints with `print`. */
export function createStory(print: (line: string) => void): Story {
  const startedAt = performance.now()
  const rows: [name: string, value: string][] = []
  const say = (text: string) => print(`${seconds(performance.now() - startedAt).padStart(7)}  ${text}`)
  return {
    say,
    async step(name, run, line) {
      const stepStartedAt = performance.now()
      const result = await run()
      rows.push([name, seconds(performance.now() - stepStartedAt)])
      say(line(result))
      return result
    },
    note: (name, value) => void rows.push([name, value]),
    table() {
      const all: typeof rows = [...rows, ['whole demo', seconds(performance.now() - startedAt)]]
      const widths = [0, 1].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
      const rule = widths.map((width) => '-'.repeat(width)).join('  ')
      print(`\n${rule}`)
      for (const [name, value] of all) print(`${name.padEnd(widths[0] ?? 0)}  ${value.padStart(widths[1] ?? 0)}`)
      print(rule)
    },
  }
}
