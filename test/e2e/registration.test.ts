/**
 * Generation 4 from end to end: relayer and sidecars as a user runs them, contracts on a chain, an operator who puts answers on it,
 * oracles that decrypt; with processes that are killed, a node that lies, and a stranger who deposits in between.
 */

import type { ValidatorItem, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import type { Hex } from 'viem'
import { expect, onTestFinished, test } from 'vitest'
import { findProcessesOf } from '../demo/processes.ts'
import { findLeaks } from '../demo/secrets/secrets.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { openCluster } from '../support/keys/fixture-shares.ts'
import { loadFixtureCluster } from '../support/keys/fixtures.ts'
import type { RegisterAnswer, RegisterRequest } from '../support/operator/operator.ts'
import { isReady, nextIndex, registerOnChain } from '../support/operator/operator.ts'
import { PATIENCE_MS, untilAnswered, untilComplete } from '../support/operator/patient-operator.ts'
import { hasConsensusSpec, judge, type SignedDeposit, type SignedExit } from '../support/services/consensus-spec.ts'
import { prepareProcesses } from '../support/world/registration-processes.ts'
import { gatherSecrets } from '../support/world/registration-secrets.ts'
import {
  assertRegistered,
  assertTamperProof,
  depositOfStranger,
  registerOverRoot,
  signedFor,
} from '../support/world/registration-steps.ts'
import { startVaultWorld } from '../support/world/vault-world.ts'
import { ask, eventually } from '../support/world/world.ts'

const ETH = 1_000_000_000
const TEST_MS = 600_000

/** Waits for the list of validators to be as it should; the relayer answers each question when something has changed. */
function untilListed(url: string, what: string, fits: (items: ValidatorItem[]) => boolean): Promise<ValidatorItem[]> {
  return eventually(
    what,
    async () => {
      const away = AbortSignal.timeout(10_000)
      const list = async (query = '') =>
        (await ask(url, `/validators${query}`, { signal: away })).json as ValidatorListResponse
      try {
        const { validators, revision } = await list()
        if (fits(validators)) return validators
        await list(`?wait=2&after=${revision}`)
      } catch {
        // The relayer is down for now.
      }
      return undefined
    },
    PATIENCE_MS,
  )
}

/** The complete answer. The nodes are waited for by the list, so that the operator need not ask again and again. */
async function untilReady(url: string, request: RegisterRequest): Promise<RegisterAnswer> {
  const last = request.startIndex + request.amounts.length
  await untilListed(
    url,
    'every signature',
    (items) =>
      items.filter(
        ({ validator_index: index, is_signatures_ready: isDone }) =>
          isDone && index >= request.startIndex && index < last,
      ).length === request.amounts.length,
  )
  return untilComplete(url, request)
}

const metric = (text: string, name: string) =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1] ?? Number.NaN,
  )

/** What was signed in the story, and for which network. */
const signed: { network: Network; exits: SignedExit[]; deposits: SignedDeposit[] }[] = []

test.skipIf(skipWithoutAnvil)(
  'twelve validators in two batches: an index race, a hostile node, one that is late, SIGKILL to a sidecar and to the relayer',
  { timeout: TEST_MS },
  async () => {
    const cluster = loadFixtureCluster('cluster-4')
    const keys = cluster.expected.validators.map(({ public_key }) => public_key)
    const world = await startVaultWorld()
    onTestFinished(() => world[Symbol.asyncDispose]())
    const vault = await world.deployVault({ address: cluster.expected.withdrawal_address as Hex })
    const processes = await prepareProcesses(world, cluster, vault.address)
    onTestFinished(async ({ task }) => {
      if (task.result?.state === 'fail')
        for (const [name, text] of processes.logs()) console.error(`the last of ${name}:\n${text.slice(-1500)}`)
      await processes[Symbol.asyncDispose]()
    })
    const { url } = processes

    // Batch 1. Node 4 lies from the beginning, node 3 is down.
    await processes.startRelayer()
    processes.startHostileNode(4)
    await Promise.all([processes.startSidecar(1), processes.startSidecar(2)])
    const batch1: RegisterRequest = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: Array.from({ length: 6 }, () => 32 * ETH),
      type: '0x01',
    }
    const started = await untilAnswered(url, batch1)
    expect(started.validators.map(({ public_key }) => public_key)).toEqual(keys.slice(0, 6))
    // Node 4 has lied in its own name and in that of node 3, which is not there to say otherwise.
    const halfway = await untilListed(
      url,
      'the two honest nodes and the liar',
      (items) =>
        items.length === 6 &&
        items.every(
          ({ share_indexes_ready: ready, share_indexes_rejected: rejected = [] }) =>
            ready.length === 2 && rejected.includes(3) && rejected.includes(4),
        ),
    )
    for (const item of halfway)
      expect(item).toMatchObject({ share_indexes_ready: [1, 2], is_signatures_ready: false, vault: vault.address })
    expect(isReady(await untilAnswered(url, batch1))).toBe(false)
    const metrics = (await ask(url, '/metrics')).text
    expect(metric(metrics, 'dvt_relayer_partial_signatures_total{outcome="rejected"}')).toBeGreaterThanOrEqual(6)
    await processes.startSidecar(3)
    const early = await untilReady(url, batch1)
    await assertTamperProof(vault, '0x01', early)

    // Somebody else's deposit, even one that does not count, makes the manager's signature worthless, and nothing else.
    const rootBefore = await vault.depositContract.root()
    await depositOfStranger(world, false)
    expect(await registerOverRoot(vault, '0x01', early, rootBefore)).toEqual({
      ok: false,
      error: 'InvalidRegistryRoot',
    })
    expect(await registerOnChain(vault, '0x01', early)).toEqual({ ok: false, error: 'InvalidSignature' })
    const answer1 = await untilAnswered(url, batch1)
    expect(answer1.validators).toEqual(early.validators)
    expect(await registerOnChain(vault, '0x01', answer1)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    const shares1 = await assertRegistered(world, vault, batch1, answer1)
    signed.push({ network: world.network, ...signedFor(world.network, batch1, answer1, shares1) })

    // Batch 2. Node 2 is killed as soon as it is asked, and a stranger takes the index.
    const batch2: RegisterRequest = {
      ...batch1,
      startIndex: nextIndex(world.beacon),
      amounts: [32, 33, 64, 100, 1_000, 2_048].map((eth) => eth * ETH),
      type: '0x02',
    }
    const second = await untilAnswered(url, batch2)
    expect(second.validators.map(({ public_key }) => public_key)).toEqual(keys.slice(6))
    await processes.kill(2)
    const sidecar2 = await processes.startSidecar(2)
    const raced = await untilReady(url, batch2)
    await assertTamperProof(vault, '0x02', raced)
    const rootRaced = await vault.depositContract.root()
    const stranger = await depositOfStranger(world, true)
    expect(await registerOverRoot(vault, '0x02', raced, rootRaced)).toEqual({ ok: false, error: 'InvalidRegistryRoot' })
    expect(await registerOnChain(vault, '0x02', raced)).toEqual({ ok: false, error: 'InvalidSignature' })
    // The relayer sees the deposit in the logs before the consensus node has it: nothing is signed for an index that is gone.
    const used = { status: 422, text: expect.stringContaining('"INDEX_USED"') }
    await expect(untilAnswered(url, batch2)).rejects.toMatchObject(used)
    await world.beaconFollows.sync()
    expect(world.beacon.findValidator(stranger)?.index).toBe(batch2.startIndex)
    await expect(untilAnswered(url, batch2)).rejects.toMatchObject(used)

    // Asked anew: other exits, the same deposits. The relayer is killed on the way.
    const again: RegisterRequest = { ...batch2, startIndex: nextIndex(world.beacon) }
    expect(again.startIndex).toBe(batch2.startIndex + 1)
    const third = await untilAnswered(url, again)
    const depositsOf = ({ validators }: RegisterAnswer) =>
      validators.map((item) => [item.public_key, item.deposit_signature])
    expect(depositsOf(third)).toEqual(depositsOf(raced))
    await processes.kill('relayer')
    await processes.startRelayer()
    const answer2 = await untilReady(url, again)
    expect(depositsOf(answer2)).toEqual(depositsOf(raced))
    expect(await registerOnChain(vault, '0x02', answer2)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    const shares2 = await assertRegistered(world, vault, again, answer2)
    signed.push({ network: world.network, ...signedFor(world.network, again, answer2, shares2) })
    expect(await vault.nonce()).toBe(2n)
    expect(world.beacon.validatorCount).toBe(batch1.startIndex + 13)
    expect(await untilAnswered(url, { ...again, startIndex: nextIndex(world.beacon) })).toEqual({
      validators: [],
      validators_manager_signature: null,
    })
    expect(metric((await ask(sidecar2, '/metrics')).text, 'dvt_sidecar_journal_keys')).toBe(12)

    // Everything ends well, the liar was named, and no secret was printed.
    const { relayer: end, ...ends } = await processes.stop()
    expect([end, ends]).toEqual([0, { 'sidecar 1': 0, 'sidecar 2': 0, 'sidecar 3': 0 }])
    expect(findProcessesOf(processes.dataDir)).toEqual([])
    const logs = processes.logs()
    expect([...logs.values()].join('')).toMatch(/"share_index":4,"count":\d+,"msg":"wrong partial signatures"/)
    const validators = await openCluster(cluster)
    const secrets = await gatherSecrets({
      ...{ network: world.network, cluster, manager: world.manager, oracles: world.oracles },
      registrations: validators.map((validator, position) => ({
        validator,
        vault: vault.address,
        type: position < 6 ? '0x01' : '0x02',
        amountGwei: [...batch1.amounts, ...batch2.amounts][position] ?? 0,
        validatorIndexes:
          position < 6
            ? [batch1.startIndex + position]
            : [batch2.startIndex + position - 6, again.startIndex + position - 6],
      })),
      oracleShares: [...shares1, ...shares2],
      dataDir: processes.dataDir,
      madeUp: processes.hostileLog().split('\n').filter(Boolean).slice(0, 200),
    })
    expect(findLeaks(logs, secrets)).toEqual([])
  },
)

test.skipIf(!hasConsensusSpec())('what they signed is right by the specification of every fork', ({ skip }) => {
  const [network] = signed.map((batch) => batch.network)
  if (network === undefined) return skip('nothing was signed')
  const exits = signed.flatMap((batch) => batch.exits)
  const deposits = signed.flatMap((batch) => batch.deposits)
  const judgements = Object.values(judge(network, { exits, deposits }))
  expect([judgements.length > 0, exits.length, deposits.length]).toEqual([true, 12, 12])
  for (const judgement of judgements)
    expect(judgement).toEqual({ exits: exits.map(() => null), deposits: deposits.map(() => null) })
})
