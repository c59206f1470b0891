/** What is done for everybody is done on nobody's account: whoever asks first would have all others wait in its own line. */

import { createRegistryReader } from '@dvt-relayer/chain/consensus/registry-view.ts'
import { type Account, accountKey, currentAccount, onAccountOf, onOwnAccount } from '@dvt-relayer/common/account.ts'
import { expect, it } from 'vitest'
import { createCoverage } from './clusters/coverage.ts'
import { createDepositViews } from './deposit-registry/view.ts'
import { createOracleSets } from './oracles/sets.ts'
import { createKeyChoice } from './registrations/choose-keys.ts'

const OPERATOR: Account = { group: 'operator', name: 'busy' }
const OWN = onOwnAccount(() => accountKey(currentAccount()))

/** On whose account the first thing was done that somebody's call has caused. */
async function accountOf(call: (note: () => never) => Promise<unknown>): Promise<string | undefined> {
  let noted: string | undefined
  const note = () => {
    noted ??= accountKey(currentAccount())
    throw new Error('noted')
  }
  await onAccountOf(OPERATOR, () => call(note)).catch(() => {})
  return noted
}
/** Anything of which every use is noted. */
const noting = (note: () => never) => new Proxy({}, { get: () => note }) as never

it('the look for the newest oracles is on the account of nobody', async () => {
  const newest = (note: () => never) => {
    const chain = { oracleSets: { head: async () => note() } }
    return createOracleSets({ db: noting(note), chain: chain as never, events: noting(note) }).newest()
  }
  expect(await accountOf(newest)).toBe(OWN)
})

it('so is the look at the deposits of the newest block', async () => {
  const read = (note: () => never) => {
    const needs = {
      config: { network: {} },
      db: noting(note),
      crypto: noting(note),
      chain: { execution: noting(note) },
    }
    return createDepositViews(needs as never, note).read()
  }
  expect(await accountOf(read)).toBe(OWN)
})

it('so is the look at the registry of a consensus node', async () => {
  expect(await accountOf((note) => createRegistryReader(noting(note), note, () => 0)())).toBe(OWN)
})

it('so is the count of the clusters', async () => {
  const whoami = (note: () => never) =>
    createCoverage({ db: noting(note) }).of({ vaults: undefined, shareIndexes: undefined })
  expect(await accountOf(whoami)).toBe(OWN)
})

it('so is the choice of keys, for which all requests wait', async () => {
  const choose = (note: () => never) => {
    const choice = { requester: 'vault:0x', request: { amountsGwei: [1] }, onChain: { findAbsent: async () => note() } }
    return createKeyChoice(noting(note)).choose(choice as never)
  }
  expect(await accountOf(choose)).toBe(OWN)
})
