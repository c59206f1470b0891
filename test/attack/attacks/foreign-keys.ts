import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

/** Another vault's operator asks for keys that are not its own, in both generations, again and again. */
export const foreignKeys: Attack = {
  id: 'foreign-keys',
  name: 'another vault’s token asks for this vault’s keys',
  reaches: ['200', '403'],
  run({ url, tokens: { foreign }, vaults, keys: { many, signed } }, count) {
    const requests = [
      post('/validators', { public_keys: signed }, foreign),
      post('/validators', { public_keys: many.slice(0, 100).toReversed() }, foreign),
      post(
        '/register',
        { vault: vaults.foreign, validators_start_index: 1000, amounts: [32_000_000_000], validator_type: '0x01' },
        foreign,
      ),
    ]
    return flood(url, count, { connections: 16, say: (n) => requests[n % requests.length] ?? '' })
  },
  async left({ query, scene }) {
    const rows = await query<{ requester: string }>(
      `select distinct requester from messages where requester is not null`,
    )
    const reserved = await query(`select from validators where encode(vault, 'hex') = $1`, [
      scene.vaults.foreign.slice('0x'.length),
    ])
    const taken = [...reserved, ...rows.filter(({ requester }) => requester.includes(scene.vaults.foreign))]
    return { text: taken.length === 0 ? 'every key is its owner’s' : 'keys were taken', isRight: taken.length === 0 }
  },
}
