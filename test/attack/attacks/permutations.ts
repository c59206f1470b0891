import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

/** The n-th order of these. */
function permuted<T>(items: readonly T[], n: number): T[] {
  const left = [...items]
  return items.flatMap((_, position) => {
    const size = items.length - position
    const [one] = left.splice(n % size, 1)
    n = Math.floor(n / size)
    return one === undefined ? [] : [one]
  })
}

/** One request of the manager's wallet in every order, each of which is another signature. */
export const permutations: Attack = {
  id: 'permutations',
  name: 'one withdrawal of six validators, in every order',
  reaches: ['200'],
  run({ url, tokens, vaults, managed }, count) {
    const bodyOf = (n: number) => {
      const public_keys = permuted(managed, n)
      return post(
        '/withdraw',
        { vault: vaults.own, public_keys, amounts: managed.map(() => 1_000_000_000) },
        tokens.operator,
      )
    }
    return flood(url, count, { connections: 4, say: bodyOf })
  },
  async left({ query }, log) {
    const rows = await query('select from manager_signatures')
    const bytes = `${rows.length} rows, ${log.length} bytes of log`
    return { text: bytes, isRight: rows.length <= 1 }
  },
}
