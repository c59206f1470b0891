import type { Attack } from '../attack.ts'
import { flood, head } from '../wire.ts'

/** What the log may grow by in a minute, whatever is refused: some 150 MB a day. */
const MOST_BYTES_A_MINUTE = 100_000
/** And once, for the first of each kind. */
const FIRST_BYTES = 20_000

/** Requests that are refused, each with something else in them. */
export const refusals: Attack = {
  id: 'refusals',
  name: 'refused requests: wrong tokens, wrong roles, paths that are none',
  reaches: ['200', '401', '403', '404'],
  run({ url, tokens }, count) {
    const say = (n: number) =>
      [
        head('/exits', { token: `wrong-${n}` }),
        head('/validators', { token: tokens.foreign }),
        head(`/nothing-${n}`),
        head(`/exits?junk=${n}`, { token: tokens.node }),
      ][n % 4] ?? ''
    return flood(url, count, { connections: 50, say })
  },
  async left(_, log, seconds) {
    const text = `${log.length} bytes of log in ${seconds.toFixed(0)} s`
    return { text, isRight: log.length <= FIRST_BYTES + (MOST_BYTES_A_MINUTE * seconds) / 60 }
  },
}
