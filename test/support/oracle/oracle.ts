/**
 * An oracle: what it approves and what it says is outdated (docs/protocol.md#16-rotation). It trusts nothing of a request: its own share
 * must be right for the validator's index, and nobody's approval is worth more than that.
 */

import { createHash } from 'node:crypto'
import type { Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { bytesToHex, getAddress, hexToBytes, isAddress } from 'viem/utils'
import { exitRoot } from '../../demo/chain/signing-roots.ts'
import type { KeeperLog, SignatureSet } from './keeper-log.ts'
import { signRegistration, signUpdate } from './oracle-approvals.ts'
import { judgeShards, type Seat } from './shares.ts'

/** A request that is refused; the message says why. */
export class Refusal extends Error {}

/** What an oracle answers with. */
export interface OracleAnswer {
  ipfs_hash: string
  signature: Hex
  deadline: number
}

/** How an oracle can be bad. */
export interface Misconduct {
  /** It approves something of its own. */
  other?: boolean
  /** It says that these indexes are outdated, whatever is. */
  outdated?: number[]
}

export interface OracleOptions {
  secretKey: Hex
  network: {
    chainId: number
    keeper: Hex
    capellaEpoch: number
    capellaForkVersion: Uint8Array
    genesisValidatorsRoot: Uint8Array
  }
  log: KeeperLog
  /** The JSON of a CID. */
  fetch(cid: string): Promise<unknown>
  /** Puts content where all can read it. Returns its CID. */
  publish(content: object): Promise<string>
  /** What the consensus node says of these keys (lower-case hex), at its head. */
  findValidators(keys: readonly Hex[]): Promise<Map<string, { index: number; withdrawalCredentials: Hex }>>
}

interface Config {
  cid: string
  seat: Seat
  signature_validity_period: number
  validators_approval_batch_limit: number
  validators_exit_rotation_batch_limit: number
}

/** What the two kinds of request have in common. */
interface ShardLists {
  vault: Hex
  keys: Hex[]
  keyShards: Hex[][]
  exitShards: Hex[][]
  deadline: number
}

/** Creates an oracle. */
export function createOracle(options: OracleOptions) {
  const { secretKey, network, log } = options
  const account = privateKeyToAccount(secretKey)
  const domain = { chainId: network.chainId, keeper: network.keeper }
  /** What was found good once need not be looked at again. */
  const known = new Set<string>()
  /** Its own part of everything that it approved, by validator and config. */
  const handed = new Map<string, Hex>()

  /** The newest config and this oracle's place in it. */
  async function readConfig(): Promise<Config> {
    const cid = await log.config()
    if (cid === undefined) throw new Refusal('the Keeper has announced no config')
    const json = (await options.fetch(cid)) as Config & {
      oracles: { public_key: Hex }[]
      exit_signature_recover_threshold: number
    }
    const own = account.publicKey.slice('0x04'.length)
    const position = json.oracles.findIndex(({ public_key: key }) => key.toLowerCase().endsWith(own))
    if (position < 0) throw new Refusal('I am no oracle of the newest config')
    const oracles = json.oracles.length
    const threshold = json.exit_signature_recover_threshold
    return { ...json, cid, seat: { secretKey: hexToBytes(secretKey), x: position + 1, oracles, threshold } }
  }

  /** Checks every validator's shares for its index. */
  function checkShards(
    { cid, seat }: Config,
    lists: ShardLists,
    indexOf: (key: Hex, position: number) => number,
  ): void {
    for (const [position, key] of lists.keys.entries()) {
      const [keyShards = [], exitShards = []] = [lists.keyShards[position], lists.exitShards[position]]
      const validatorIndex = indexOf(key, position)
      const digest = createHash('sha256')
        .update(JSON.stringify([cid, key, validatorIndex, keyShards, exitShards]))
        .digest('hex')
      if (known.has(digest)) continue
      const root = exitRoot(network, { epoch: network.capellaEpoch, validatorIndex })
      const problem = judgeShards(seat, root, {
        publicKey: hexToBytes(key),
        publicKeyShards: keyShards.map((shard) => hexToBytes(shard)),
        exitSignatureShards: exitShards.map((shard) => hexToBytes(shard)),
      })
      if (problem !== undefined) throw new Refusal(`validator ${position + 1}, index ${validatorIndex}: ${problem}`)
      known.add(digest)
    }
  }

  /** Publishes a set of shares; all oracles write the same bytes for the same request. */
  async function publish(config: Config, lists: ShardLists, { other }: Misconduct): Promise<string> {
    const set: SignatureSet = {
      vault: lists.vault,
      config: config.cid,
      validators: lists.keys.map((key, position) => ({
        public_key: key,
        public_key_shards: lists.keyShards[position] ?? [],
        exit_signature_shards: lists.exitShards[position] ?? [],
      })),
    }
    for (const { public_key, exit_signature_shards } of set.validators) {
      const own = exit_signature_shards[config.seat.x - 1]
      if (own !== undefined) handed.set(`${public_key} ${config.cid}`, own)
    }
    return options.publish(other ? { ...set, approved_by: account.address } : set)
  }

  function checkDeadline(deadline: number, { signature_validity_period: seconds }: Config): void {
    const now = Date.now() / 1000
    if (deadline <= now) throw new Refusal('the deadline is over')
    if (deadline > now + seconds) throw new Refusal(`the deadline is more than ${seconds} seconds away`)
  }

  return {
    address: account.address,
    handed,

    /** Approves validators that are to be registered: `POST /validators`. @throws {Refusal} */
    async approveRegistration(body: Fields, misconduct: Misconduct = {}): Promise<OracleAnswer> {
      const lists = readLists(body)
      const [first, root, validators] = [
        body['validator_index'],
        readHex(body, 'validators_root'),
        readHex(body, 'validators'),
      ]
      if (!isWhole(first)) throw new Refusal('validator_index is no number')
      const config = await readConfig()
      checkDeadline(lists.deadline, config)
      if (lists.keys.length > config.validators_approval_batch_limit) throw new Refusal('too many validators')
      const item = (validators.length - '0x'.length) / lists.keys.length
      if (lists.keys.some((key, position) => !validators.startsWith(key.slice(2), 2 + position * item)))
        throw new Refusal('other validators are to be registered')
      if ((await options.findValidators(lists.keys)).size > 0) throw new Refusal('a validator is registered already')
      checkShards(config, lists, (_, position) => first + position)
      const ipfsHash = await publish(config, lists, misconduct)
      const { vault, deadline } = lists
      const signature = await signRegistration(secretKey, domain, { root, vault, validators, ipfsHash, deadline })
      return { ipfs_hash: ipfsHash, signature, deadline }
    },

    /** Approves new shares of validators that are there: `POST /signatures`. @throws {Refusal} */
    async approveUpdate(body: Fields, misconduct: Misconduct = {}): Promise<OracleAnswer> {
      const lists = readLists(body)
      const { vault, keys, deadline } = lists
      const config = await readConfig()
      checkDeadline(deadline, config)
      if (keys.length > config.validators_exit_rotation_batch_limit) throw new Refusal('too many validators')
      const record = log.vault(vault)
      if (record === undefined) throw new Refusal('I know no such vault')
      const found = await options.findValidators(keys)
      checkShards(config, lists, (key) => {
        const validator = found.get(key)
        if (validator === undefined || !record.configs.has(key)) throw new Refusal('I know no such validator')
        if (!validator.withdrawalCredentials.endsWith(vault.slice(2).toLowerCase()))
          throw new Refusal('a validator is not of this vault')
        return validator.index
      })
      const ipfsHash = await publish(config, lists, misconduct)
      const nonce = await log.nonce(vault)
      const signature = await signUpdate(secretKey, domain, { vault, ipfsHash, nonce, deadline })
      return { ipfs_hash: ipfsHash, signature, deadline }
    },

    /** The validators of a vault whose shares are for an older config: `GET /signatures/{vault}`. @throws {Refusal} */
    async listOutdated(vault: string, { outdated }: Misconduct = {}) {
      if (!isAddress(vault, { strict: false })) throw new Refusal('that is no address')
      const { cid } = await readConfig()
      const { updateBlock = 0, configs = new Map<string, string>() } = log.vault(vault) ?? {}
      const keys = [...configs].filter(([, config]) => config !== cid).map(([key]) => key as Hex)
      const found = keys.length === 0 ? new Map() : await options.findValidators(keys)
      const indexes = outdated ?? [...found.values()].map(({ index }) => index as number)
      return { exit_signature_block_number: updateBlock, validators: indexes.map((index) => ({ index })) }
    },
  }
}

type Fields = Readonly<Record<string, unknown>>

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function hexOf(value: unknown, what: string): Hex {
  if (typeof value !== 'string' || !/^(0x)?([0-9a-f]{2})+$/i.test(value)) throw new Refusal(`${what} is no hex`)
  return bytesToHex(Buffer.from(value.replace(/^0x/i, ''), 'hex'))
}
const readHex = (body: Fields, name: string): Hex => hexOf(body[name], name)

function readLists(body: Fields): ShardLists {
  const list = (value: unknown, what: string): unknown[] => {
    if (!Array.isArray(value)) throw new Refusal(`${what} is no list`)
    return value
  }
  const hexes = (value: unknown, what: string) => list(value, what).map((item) => hexOf(item, what))
  const vault = body['vault_address']
  if (typeof vault !== 'string' || !isAddress(vault, { strict: false })) throw new Refusal('vault_address is none')
  const keys = hexes(body['public_keys'], 'public_keys')
  const keyShards = list(body['public_key_shards'], 'public_key_shards').map((item) => hexes(item, 'public_key_shards'))
  const exitShards = list(body['exit_signature_shards'], 'exit_signature_shards').map((item) =>
    hexes(item, 'exit_signature_shards'),
  )
  if (keys.length === 0 || keyShards.length !== keys.length || exitShards.length !== keys.length)
    throw new Refusal('the lists are empty or of different lengths')
  if (new Set(keys).size !== keys.length) throw new Refusal('a validator stands there twice')
  const { deadline } = body
  if (!isWhole(deadline)) throw new Refusal('deadline is no number')
  return { vault: getAddress(vault), keys, keyShards, exitShards, deadline }
}
