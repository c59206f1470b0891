/**
 * What an oracle knows of the Keeper: the newest config, and for each vault which of its validators' exits the oracles hold shares of, and
 * under which config. Read when it is asked for, so that an oracle nobody asks does nothing.
 */

import type { Hex } from 'viem'
import { decodeAbiParameters, hexToNumber, numberToHex, padHex, toEventSelector, toFunctionSelector } from 'viem/utils'

/** The content behind an `exitSignaturesIpfsHash`, as these oracles write it. */
export interface SignatureSet {
  vault: Hex
  /** CID of the config the shares are for. */
  config: string
  validators: { public_key: Hex; public_key_shards: Hex[]; exit_signature_shards: Hex[] }[]
}

/** What finalized blocks say of a vault. */
export interface VaultRecord {
  /** Block of its newest `ExitSignaturesUpdated`; 0 without one. */
  updateBlock: number
  /** CID of the config that the shares of each validator (lower-case hex) are for. */
  configs: Map<string, string>
}

interface Log {
  topics: [Hex, ...Hex[]]
  data: Hex
  blockNumber: Hex
}

const TOPICS = {
  config: toEventSelector('ConfigUpdated(string)'),
  approval: toEventSelector('ValidatorsApproval(address,string)'),
  update: toEventSelector('ExitSignaturesUpdated(address,address,uint256,string)'),
} as const
const NONCES = toFunctionSelector('exitSignaturesNonces(address)')

/**
 * Creates the log.
 *
 * @param source.rpc calls a JSON-RPC method of the execution node
 * @param source.fetch the content of a CID
 */
export function createKeeperLog(source: {
  keeper: Hex
  fromBlock: number
  rpc(method: string, ...params: unknown[]): Promise<unknown>
  fetch(cid: string): Promise<unknown>
}) {
  const { keeper, rpc } = source
  const vaults = new Map<string, VaultRecord>()
  let nextBlock = source.fromBlock
  let lastConfig: string | undefined
  let reading: Promise<string | undefined> = Promise.resolve(undefined)

  const recordOf = (vault: string): VaultRecord => {
    const key = vault.toLowerCase()
    const record = vaults.get(key) ?? { updateBlock: 0, configs: new Map() }
    vaults.set(key, record)
    return record
  }

  /** Takes in one event of a finalized block. */
  async function take({ topics, data, blockNumber }: Log): Promise<void> {
    if (topics[0] === TOPICS.config) lastConfig = textOf(data)
    if (topics[0] !== TOPICS.approval && topics[0] !== TOPICS.update) return
    const isUpdate = topics[0] === TOPICS.update
    const vault = `0x${(isUpdate ? topics[2] : topics[1])?.slice(-40)}`
    const hash = isUpdate ? decodeAbiParameters([{ type: 'uint256' }, { type: 'string' }], data)[1] : textOf(data)
    const content = (await source.fetch(hash)) as SignatureSet
    const record = recordOf(vault)
    if (isUpdate) record.updateBlock = hexToNumber(blockNumber)
    for (const validator of content.validators) record.configs.set(validator.public_key, content.config)
  }

  /** Reads what is new. The newest config counts from the head on, all else once it is final. */
  async function read(): Promise<string | undefined> {
    const final = (await rpc('eth_getBlockByNumber', 'finalized', false)) as { number: Hex }
    const filter = { address: keeper, fromBlock: numberToHex(nextBlock), toBlock: 'latest' }
    let newest = lastConfig
    for (const log of (await rpc('eth_getLogs', filter)) as Log[]) {
      const block = hexToNumber(log.blockNumber)
      if (block <= hexToNumber(final.number) && block >= nextBlock) await take(log)
      if (log.topics[0] === TOPICS.config) newest = textOf(log.data)
    }
    nextBlock = Math.max(nextBlock, hexToNumber(final.number) + 1)
    return newest
  }

  return {
    /** CID of the newest config. One reading at a time. */
    config(): Promise<string | undefined> {
      reading = reading.then(read, read)
      return reading
    },
    /** What is known of a vault, as of the last reading; undefined where nothing is. */
    vault: (vault: string): VaultRecord | undefined => vaults.get(vault.toLowerCase()),
    /** `exitSignaturesNonces(vault)` at the head. */
    async nonce(vault: Hex): Promise<number> {
      const call = { to: keeper, data: `${NONCES}${padHex(vault, { size: 32 }).slice('0x'.length)}` }
      return hexToNumber((await rpc('eth_call', call, 'latest')) as Hex)
    },
  }
}
export type KeeperLog = ReturnType<typeof createKeeperLog>

const textOf = (data: Hex): string => decodeAbiParameters([{ type: 'string' }], data)[0]
