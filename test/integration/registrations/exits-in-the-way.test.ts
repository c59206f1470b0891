/** Which exits a registration may retire: the requester's own, at the indexes it needs, of the vault's other validators. */

import { findExitsInTheWay, lockAllocation } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { describe, expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

const VAULT = new Uint8Array(20).fill(1)
const OTHER_VAULT = new Uint8Array(20).fill(2)

describe('exits in the way of a registration', () => {
  it('are the requester’s own at its indexes, and nobody else’s', async () => {
    const store = await openMessages()
    const at = async (vault: Uint8Array | undefined, exit: Parameters<typeof store.addExit>[1]) =>
      store.addExit((await store.addValidator(vault)).id, exit)
    const own = { requester: 'first' }
    const inTheWay = [
      await at(VAULT, { ...own, index: 10 }),
      await at(VAULT, { ...own, index: 11, state: 'ready' }),
      await at(VAULT, { ...own, index: 12 }),
    ]
    // Below the first index and beyond the last one.
    await at(VAULT, { ...own, index: 9 })
    await at(VAULT, { ...own, index: 13 })
    // Another requester's, and those of nobody.
    for (const requester of ['second', 'firs', 'first2', null]) await at(VAULT, { requester, index: 11 })
    // Of another vault or of none; and what has ended.
    await at(OTHER_VAULT, { ...own, index: 11 })
    await at(undefined, { ...own, index: 11 })
    for (const state of ['expired', 'superseded', 'erased']) await at(VAULT, { ...own, index: 11, state })
    const registered = await store.addValidator(VAULT)
    await store.addExit(registered.id, { ...own, index: 10 })
    const found = await store.db.transaction(async (tx) => {
      await lockAllocation(tx)
      return findExitsInTheWay(tx, {
        vault: VAULT,
        validatorIds: [registered.id],
        requester: 'first',
        first: 10,
        count: 3,
      })
    })
    expect(found.toSorted((a, b) => a - b)).toEqual(inTheWay)
  })
})
