/** Oracles that wait for news: one whose looks wait for the database keeps no other one waiting. */

import { accountKey, currentAccount, onAccountOf } from '@dvt-relayer/common/account.ts'
import { expect, it } from 'vitest'
import { createOracleFetch } from '../../../apps/relayer/src/services/oracles/fetch.ts'
import { openMessages } from '../../support/stages/messages.ts'

const wanted = { vault: undefined, publicKey: undefined, after: undefined, limit: 1 }

it('an oracle whose looks wait for the database keeps no other one waiting', async () => {
  const { db } = await openMessages()
  let isBusy = false
  const looked = Promise.withResolvers<void>()
  const never = new Promise(() => {})
  const hanging = () => ({ from: () => ({ where: () => ({ orderBy: () => never }) }) })
  /** From some time on it answers one caller no more. */
  const select = (...args: Parameters<typeof db.select>) => {
    if (isBusy && accountKey(currentAccount()) === 'oracle busy') return hanging()
    if (isBusy) looked.resolve()
    return db.select(...args)
  }
  let looks = 0
  const haveLooked = Promise.withResolvers<void>()
  const execute = async (query: Parameters<typeof db.execute>[0]) => {
    const result = await db.execute(query)
    if (++looks === 4) haveLooked.resolve()
    return result
  }
  const fetch = createOracleFetch({ db: { execute, select } as never })
  const gone = new AbortController()
  const poll = (name: string, byte: number) =>
    onAccountOf({ group: 'oracle', name }, () =>
      fetch.fetch({ ...wanted, oracle: new Uint8Array(20).fill(byte) }, 60_000, gone.signal),
    )
  const first = [poll('busy', 1), poll('busy', 1), poll('busy', 1), poll('other', 2)]
  // All have looked once and found nothing: they wait for news from here on.
  await haveLooked.promise
  isBusy = true
  fetch.notified()
  await looked.promise
  gone.abort()
  expect(await first.at(-1)).toMatchObject({ items: [] })
})
