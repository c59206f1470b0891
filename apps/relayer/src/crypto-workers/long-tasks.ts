/** What a thread takes in turns: tasks that may take seconds, each a turn of some milliseconds; what came meanwhile goes first. */

interface LongTask {
  id: number
  turns: Generator<void, unknown>
}

interface Means {
  /** How long the thread rests after a turn, in times of that turn. */
  rests: number
  nowMs: () => number
  /** Lets others have the thread, for so long where it is to rest. */
  pause: (ms: number) => Promise<unknown>
  done: (id: number, value: unknown) => void
  failed: (id: number, error: unknown) => void
}

/** Creates the tasks of a thread; there are none. */
export function createLongTasks({ rests, nowMs, pause, done, failed }: Means) {
  /** The first has the next turn. */
  let waiting: LongTask[] = []
  let isTaking = false

  function takeTurn(task: LongTask): void {
    try {
      const turn = task.turns.next()
      if (turn.done === true) done(task.id, turn.value)
      else waiting.push(task)
    } catch (error) {
      failed(task.id, error)
    }
  }

  async function takeTurns(): Promise<void> {
    isTaking = true
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
      const began = nowMs()
      takeTurn(task)
      await pause(rests * (nowMs() - began))
    }
    isTaking = false
  }

  return {
    /** Begins a task. */
    begin(task: LongTask): void {
      waiting.push(task)
      if (!isTaking) void takeTurns()
    },
    /** Gives up all of them. */
    giveUp(error: Error): void {
      for (const { id } of waiting) failed(id, error)
      waiting = []
    },
  }
}
