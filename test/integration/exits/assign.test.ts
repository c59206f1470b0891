/** Many exits and deposits made at once: what takes long of them is done in pieces. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { assignDeposits, assignExits } from '../../../apps/relayer/src/services/exits/assign.ts'
import { countByRound } from '../../support/event-loop.ts'
import { openMessages } from '../../support/stages/messages.ts'

it('computes the signing roots of many in pieces: others have the event loop in between', async () => {
  const { db, query } = await openMessages()
  const rows = await query<{ id: string; public_key: Buffer }>(sql`
    insert into validators (public_key) select sha256(n::text::bytea) || substr(sha256(n::text::bytea), 1, 16)
    from generate_series(1, 300) n returning id, public_key`)
  const wanted = rows.map(({ id, public_key: key }, position) => ({
    validatorId: Number(id),
    publicKey: new Uint8Array(key),
    threshold: 3,
    requester: null,
    validatorIndex: 100 + position,
    vault: new Uint8Array(20).fill(1),
    amountGwei: 32_000_000_000,
    validatorType: '0x01' as const,
  }))
  const counted = countByRound()
  // Each root asks the network for its fork version.
  const network = {
    ...networks.hoodi,
    get capellaForkVersion() {
      counted.count()
      return networks.hoodi.capellaForkVersion
    },
    get genesisForkVersion() {
      counted.count()
      return networks.hoodi.genesisForkVersion
    },
  }
  const config = { network, limits: { openExits: 1000 }, validatorLifetimeSeconds: 3600 }
  for (const assign of [assignExits, assignDeposits]) {
    const before = counted.inRounds().length
    const done = await db.transaction((tx) => assign(tx, config as Parameters<typeof assign>[1], wanted, 100))
    expect(done.created).toBe(300)
    expect(counted.inRounds().slice(before)).toEqual([128, 128, 44])
  }
  counted.end()
  const roots = await query<{ signing_root: Buffer }>(sql`
    select signing_root from messages where kind = 'exit' order by validator_index`)
  const expected = wanted.map(({ validatorIndex }) =>
    exitSigningRoot(networks.hoodi, { epoch: networks.hoodi.capellaEpoch, validatorIndex }),
  )
  expect(roots.map(({ signing_root: root }) => new Uint8Array(root))).toEqual(expected)
})
