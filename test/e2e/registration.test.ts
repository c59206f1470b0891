/**
 * Generation 4 from end to end: relayer and sidecars as a user runs them, contracts on a chain, an operator who puts answers on it,
 * oracles that decrypt; with processes that are killed, a node that lies, and a stranger who deposits in between.
 */

import type { ValidatorItem, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createFastEcies } from '@dvt-relayer/crypto/ecies.ts'
import { depositSigningRoot, exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages.ts'
import type { Hex } from 'viem'
import { concatHex } from 'viem/utils'
import { expect, onTestFinished, test } from 'vitest'
import { findProcessesOf } from '../demo/processes.ts'
import { findLeaks } from '../demo/secrets.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { depositBySomebodyElse } from '../support/chain/deposits.ts'
import type { Vault } from '../support/chain/vault.ts'
import { openCluster } from '../support/fixture-shares.ts'
import { loadFixtureCluster } from '../support/fixtures.ts'
import { createTestKeys } from '../support/keys.ts'
import { assertOraclesCanExit, engine } from '../support/nodes.ts'
import type { RegisterAnswer, RegisterRequest } from '../support/operator.ts'
import { isReady, nextIndex, register, registerOnChain } from '../support/operator.ts'
import { encodeDeposit, hexOf } from '../support/operator-encoding.ts'
import { OperatorFailure } from '../support/operator-http.ts'
import { prepareProcesses } from '../support/registration-processes.ts'
import { gatherSecrets } from '../support/registration-secrets.ts'
import { startVaultWorld, type VaultWorld } from '../support/vault-world.ts'
import { ask, eventually } from '../support/world.ts'

const ETH = 1_000_000_000
const PATIENCE_MS = 90_000
const TEST_MS = 300_000

/** What the operator gets, asking through whatever outage; undefined while nobody answers. */
async function askOnce(url: string, request: RegisterRequest): Promise<RegisterAnswer | undefined> {
  try {
    return await register(url, request)
  } catch (error) {
    if (error instanceof OperatorFailure && (error.status === undefined || error.status >= 500)) return undefined
    throw error
  }
}

const untilAnswered = (url: string, request: RegisterRequest) =>
  eventually('an answer to a registration', () => askOnce(url, request), PATIENCE_MS)

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
  return eventually(
    'a complete answer',
    async () => {
      const answer = await askOnce(url, request)
      return answer !== undefined && isReady(answer) ? answer : undefined
    },
    PATIENCE_MS,
  )
}

/** The bytes of the registration that an operator sends for an answer. */
const encodeAnswer = ({ address }: Vault, type: '0x01' | '0x02', { validators }: RegisterAnswer): Hex =>
  concatHex(
    validators.map(({ public_key, amount, deposit_signature }) =>
      encodeDeposit(address, type, public_key, amount, fromHex(deposit_signature ?? '', 96)),
    ),
  )

/** The answer with one byte changed in each of its parts that reach the chain. */
function tamperedWith(answer: RegisterAnswer): [part: string, RegisterAnswer][] {
  const flip = (text: string | null) => {
    const bytes = fromHex(text ?? '')
    bytes[20] = (bytes[20] ?? 0) ^ 1
    return toHex(bytes)
  }
  const [first, ...rest] = answer.validators
  if (first === undefined) throw new Error('an empty answer')
  const withFirst = (change: Partial<typeof first>) => ({ ...answer, validators: [{ ...first, ...change }, ...rest] })
  return [
    ['key', withFirst({ public_key: flip(first.public_key) })],
    ['deposit signature', withFirst({ deposit_signature: flip(first.deposit_signature) })],
    ['amount', withFirst({ amount: first.amount + 256 })],
    ['manager signature', { ...answer, validators_manager_signature: flip(answer.validators_manager_signature) }],
  ]
}

/** Somebody's deposit of 32 ETH for a key of its own, which counts or does not. */
async function depositOfStranger(world: VaultWorld, isValid: boolean): Promise<Uint8Array> {
  const [stranger] = createTestKeys(1, { nodes: 1, threshold: 1 })
  if (stranger === undefined) throw new Error('no key')
  const { publicKey, secretKey } = stranger
  const message = {
    publicKey,
    withdrawalCredentials: withdrawalCredentials('0x01', new Uint8Array(20).fill(0x51)),
    amountGwei: BigInt(32 * ETH),
  }
  const root = isValid ? depositSigningRoot(world.network, message) : new Uint8Array(32)
  const signature = engine.sign(secretKey, root)
  const outcome = await depositBySomebodyElse(world.anvil, world.depositContract, { ...message, signature })
  expect(outcome).toMatchObject({ ok: true })
  return publicKey
}

/**
 * Every validator of the answer is on the consensus side, the vault's, at the index its exit is for; the oracles can exit it, any
 * seven of them. Returns what they decrypted.
 */
async function assertRegistered(
  world: VaultWorld,
  vault: Vault,
  request: RegisterRequest,
  answer: RegisterAnswer,
): Promise<Uint8Array[]> {
  const { network, oracles, beacon } = world
  const decrypted: Uint8Array[] = []
  for (const [place, { public_key, oracles_exit_signature_shares: shares }] of answer.validators.entries()) {
    const publicKey = fromHex(public_key, 48)
    const index = request.startIndex + place
    expect(beacon.findValidator(publicKey)).toMatchObject({
      index,
      withdrawalCredentials: withdrawalCredentials(request.type, fromHex(vault.address, 20)),
      balanceGwei: BigInt(request.amounts[place] ?? 0),
    })
    await assertOraclesCanExit(network, oracles, 7, publicKey, index, shares)
    const message = exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex: index })
    const points = oracles.map(({ secretKey }, x) => ({
      index: BigInt(x + 1),
      point: createFastEcies().decrypt(secretKey, fromHex(shares?.encrypted_exit_signatures[x] ?? '', 193)),
    }))
    const exit = engine.interpolateSignatures(points.slice(0, 7))
    expect(engine.verify(publicKey, message, exit)).toBe(true)
    // Six and each further one give the same exit: all eleven lie on one polynomial, so any seven do.
    for (const further of points.slice(7))
      expect(toHex(engine.interpolateSignatures([...points.slice(0, 6), further]))).toBe(toHex(exit))
    // Its degree is six: where six points missed the exit, no six points hit it.
    expect(toHex(engine.interpolateSignatures(points.slice(0, 6)))).not.toBe(toHex(exit))
    decrypted.push(...points.map(({ point }) => point))
  }
  return decrypted
}

const metric = (text: string, name: string) =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1] ?? Number.NaN,
  )

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
    const registerAt = async (request: RegisterRequest, answer: RegisterAnswer, root: Hex) =>
      vault.register(root, encodeAnswer(vault, request.type, answer), hexOf(answer.validators_manager_signature))
    const assertTamperProof = async (request: RegisterRequest, answer: RegisterAnswer) => {
      for (const [part, tampered] of tamperedWith(answer))
        expect([part, await registerOnChain(vault, request.type, tampered)]).toEqual([
          part,
          { ok: false, error: 'InvalidSignature' },
        ])
    }

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
    await assertTamperProof(batch1, early)

    // Somebody else's deposit, even one that does not count, makes the manager's signature worthless, and nothing else.
    const rootBefore = await vault.depositContract.root()
    await depositOfStranger(world, false)
    expect(await registerAt(batch1, early, rootBefore)).toEqual({ ok: false, error: 'InvalidRegistryRoot' })
    expect(await registerOnChain(vault, '0x01', early)).toEqual({ ok: false, error: 'InvalidSignature' })
    const answer1 = await untilAnswered(url, batch1)
    expect(answer1.validators).toEqual(early.validators)
    expect(await registerOnChain(vault, '0x01', answer1)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    const shares1 = await assertRegistered(world, vault, batch1, answer1)

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
    await assertTamperProof(batch2, raced)
    const rootRaced = await vault.depositContract.root()
    const stranger = await depositOfStranger(world, true)
    expect(await registerAt(batch2, raced, rootRaced)).toEqual({ ok: false, error: 'InvalidRegistryRoot' })
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
      registrations: validators.map((validator, place) => ({
        validator,
        vault: vault.address,
        type: place < 6 ? '0x01' : '0x02',
        amountGwei: [...batch1.amounts, ...batch2.amounts][place] ?? 0,
        validatorIndexes:
          place < 6 ? [batch1.startIndex + place] : [batch2.startIndex + place - 6, again.startIndex + place - 6],
      })),
      oracleShares: [...shares1, ...shares2],
      dataDir: processes.dataDir,
      madeUp: processes.hostileLog().split('\n').filter(Boolean).slice(0, 200),
    })
    expect(findLeaks(logs, secrets)).toEqual([])
  },
)
