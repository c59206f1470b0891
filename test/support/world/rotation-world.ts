/**
 * The world of rotations: that of generation 4, where oracles are processes whose signatures the Keeper checks, blocks come and become
 * final, and a wallet may send updates.
 */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pathOf } from '@dvt-relayer/api/contract.ts'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { VaultResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Hex } from 'viem'
import { oracleConfig } from '../chain/oracles.ts'
import type { Vault } from '../contracts/vault.ts'
import type { FixtureCluster } from '../keys/fixtures.ts'
import { type ManagerWallet, makeManagerWallet } from '../keys/manager-wallet.ts'
import { nextIndex, type RegisterAnswer, type RegisterRequest } from '../operator/operator.ts'
import { registerWithApproval } from '../operator/operator-approvals.ts'
import { untilAnswered, untilComplete } from '../operator/patient-operator.ts'
import type { SignatureSet } from '../oracle/keeper-log.ts'
import { type OracleProcess, startOracles } from '../oracle/oracle-process.ts'
import { startVaultWorld, type VaultWorld } from './vault-world.ts'
import { ask, eventually } from './world.ts'

const GWEI = 32_000_000_000
const BLOCK_MS = 300
/** Between two looks at whether all is done, so that looking does not keep others from doing it. */
const LOOK_MS = 200
/** Blocks and states behind the head that are final. */
const FINAL = 2

/** An oracle set as it was announced. */
export interface OracleSet {
  cid: string
  oracles: readonly OracleProcess[]
  /** How many rebuild an exit. */
  threshold: number
  /** How many the Keeper wants to sign. */
  minOracles: number
}

export interface RotationWorld extends VaultWorld {
  readonly cluster: FixtureCluster
  readonly vault: Vault
  /** Who sends updates; it has test ether. */
  readonly wallet: ManagerWallet
  /** What a relayer needs to rotate by itself. */
  readonly rotationSettings: Record<string, string>
  /** Starts oracles that end with the world; nobody knows of them yet. */
  startOracles(count: number): Promise<OracleProcess[]>
  /** The Keeper takes signatures of these only, and announces their config. */
  announceSet(oracles: readonly OracleProcess[], threshold: number, minOracles: number): Promise<OracleSet>
  /**
   * Registers the next validators of the cluster through a relayer and with the oracles' approval; they are active and final then.
   *
   * @param options.ahead how much too high the operator predicts their indexes
   */
  register(relayerUrl: string, set: OracleSet, options: { count: number; ahead?: number }): Promise<RegisterAnswer>
  /** The contents of every accepted update of the vault, in order. */
  updates(): Promise<SignatureSet[]>
  /** Resolves when neither the chain, an oracle nor the relayer has anything outdated, with all that final. */
  untilCurrent(relayerUrl: string, oracle: OracleProcess, timeoutMs: number): Promise<void>
}

/** Starts it with a vault for the validators of a cluster. Some blocks and states come every second. */
export async function startRotationWorld(cluster: FixtureCluster): Promise<RotationWorld> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await startVaultWorld())
  const { anvil, beacon, keeper, ipfs } = world
  const address = cluster.expected.withdrawal_address as Hex
  const vault = await world.deployVault({ address, keeper })
  const walletDir = join(world.dir, 'rotation')
  await mkdir(walletDir)
  const wallet = await makeManagerWallet(walletDir)
  await anvil.rpc('anvil_setBalance', wallet.address, '0x8ac7230489e80000')
  stack.use(startBlocks(world))
  const resources = stack.move()

  async function contentOf(cid: string): Promise<SignatureSet> {
    return (await ask(ipfs.url, `/ipfs/${cid}`)).json as SignatureSet
  }

  /** Makes what was registered active, in a final state. */
  async function activate(keys: readonly string[]): Promise<void> {
    await world.beaconFollows.sync()
    for (const key of keys) {
      const found = beacon.findValidator(fromHex(key, 48))
      if (found === undefined) throw new Error(`${key} has not become a validator`)
      beacon.setValidator(found.index, { status: 'active_ongoing' })
    }
    beacon.finalize()
    await anvil.mine(FINAL)
  }

  return {
    ...world,
    cluster,
    vault,
    wallet,
    rotationSettings: {
      ROTATION: 'on',
      ROTATION_WALLET_KEY_FILE: wallet.keyFile,
      ROTATION_WALLET_PASSWORD_FILE: wallet.passwordFile,
    },
    async startOracles(count) {
      const oracles = await startOracles(world, count)
      for (const oracle of oracles) resources.use(oracle)
      return oracles
    },
    async announceSet(oracles, threshold, minOracles) {
      const addresses = oracles.map(({ address }) => address)
      const outcome = await keeper.setOracles(addresses, minOracles)
      if (!outcome.ok) throw new Error(outcome.error)
      const cid = ipfs.add(oracleConfig(oracles, threshold))
      await keeper.setConfig(cid)
      return { cid, oracles, threshold, minOracles }
    },
    async register(relayerUrl, set, { count, ahead = 0 }) {
      const startIndex = nextIndex(beacon) + ahead
      const amounts = Array.from({ length: count }, () => GWEI)
      const request: RegisterRequest = { vault: vault.address, startIndex, amounts, type: '0x01' }
      await untilAnswered(relayerUrl, request)
      const answer = await untilComplete(relayerUrl, request)
      const outcome = await registerWithApproval(vault, '0x01', answer, startIndex, set.oracles, set.minOracles)
      if (!outcome.ok) throw new Error(`the vault refuses the registration: ${outcome.error}`)
      await activate(answer.validators.map(({ public_key }) => public_key))
      return answer
    },
    updates: async () => Promise.all((await keeper.updates(vault.address)).map(({ ipfsHash }) => contentOf(ipfsHash))),
    async untilCurrent(relayerUrl, oracle, timeoutMs) {
      await eventually(
        'a vault without outdated validators',
        async () => {
          try {
            const path = pathOf(routes.getVault, { vault: vault.address })
            const { outdated } = (await ask(relayerUrl, path)).json as VaultResponse
            const said = (await ask(oracle.url, `/signatures/${vault.address}`)).json as { validators: object[] }
            if (outdated === 0 && said.validators.length === 0) return true
          } catch {
            // One of them is down for now.
          }
          await pause(LOOK_MS)
          return undefined
        },
        timeoutMs,
      )
    },
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}

/** Lets time go on: some blocks and states every second. */
function startBlocks({ anvil, beacon }: Pick<VaultWorld, 'anvil' | 'beacon'>): AsyncDisposable {
  let last: Promise<unknown> = Promise.resolve()
  const timer = setInterval(() => {
    beacon.advance()
    beacon.finalize(FINAL)
    last = anvil.mine(1).catch(() => undefined)
  }, BLOCK_MS)
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await last
    },
  }
}
