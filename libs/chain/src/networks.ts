/** Networks (docs/protocol.md#2-networks): the three that are built in, and custom ones from a JSON file. */

import { messageOf, TextError } from '@dvt-relayer/common/errors.ts'
import { faultWords, textLike } from '@dvt-relayer/common/expected.ts'
import { readTextSync } from '@dvt-relayer/common/files/text-file.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'
import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { ChainError } from './errors.ts'

/** One network. Bytes are bytes, blocks are execution blocks. */
export interface Network {
  readonly name: string
  readonly chainId: number
  readonly slotsPerEpoch: number
  readonly secondsPerSlot: number
  /** Unix seconds. */
  readonly genesisTimestamp: number
  /** 32 bytes. */
  readonly genesisValidatorsRoot: Uint8Array
  /** 4 bytes. */
  readonly genesisForkVersion: Uint8Array
  /** 4 bytes; exits are signed under it for ever (EIP-7044). */
  readonly capellaForkVersion: Uint8Array
  /** The epoch of every exit message. */
  readonly capellaEpoch: number
  /** 20 bytes: the deposit contract, also called validators registry. */
  readonly depositContract: Uint8Array
  readonly depositContractBlock: number
  /** 20 bytes. */
  readonly keeper: Uint8Array
  readonly keeperBlock: number
  /** A dump of all deposits up to a block, on IPFS. */
  readonly registryDump: { readonly cid: string; readonly lastBlock: number } | undefined
  readonly ssvNetwork: { readonly address: Uint8Array; readonly block: number } | undefined
}

const hex = (bytes: number) =>
  textLike(`^0x[0-9a-fA-F]{${bytes * 2}}$`, `0x and ${bytes * 2} hex digits`, `${bytes} bytes`)
const whole = (minimum: number, description: string) =>
  Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER, description })

/** A network as a JSON file states it: the fields of docs/protocol.md#2-networks. */
export const NetworkFile = Type.Object(
  {
    name: textLike(
      '^[a-z0-9][a-z0-9_-]{0,31}$',
      'at most 32 lower-case letters, digits, dashes and underscores',
      'what /info answers; lower case',
    ),
    chain_id: whole(1, 'chain id of the execution chain'),
    slots_per_epoch: whole(1, 'slots in an epoch'),
    seconds_per_slot: whole(1, 'seconds of a slot'),
    genesis_timestamp: whole(0, 'genesis of the consensus chain, Unix seconds'),
    genesis_validators_root: hex(32),
    genesis_fork_version: hex(4),
    capella_fork_version: hex(4),
    capella_epoch: whole(0, 'first epoch of Capella'),
    deposit_contract: hex(20),
    deposit_contract_block: whole(0, 'block the deposit contract was made in'),
    keeper: hex(20),
    keeper_block: whole(0, 'block the Keeper was made in'),
    registry_dump_cid: Type.Optional(
      textLike('^[a-zA-Z0-9]+$', 'an IPFS CID: letters and digits', 'IPFS CID of the registry dump'),
    ),
    registry_dump_block: Type.Optional(whole(0, 'last block of the registry dump')),
    ssv_network: Type.Optional(hex(20)),
    ssv_network_block: Type.Optional(whole(0, 'block the SSV network contract was made in')),
  },
  { additionalProperties: false },
)
export type NetworkFile = Static<typeof NetworkFile>

/** The network a checked file describes. */
export function networkOf(file: NetworkFile): Network {
  return Object.freeze({
    name: file.name,
    chainId: file.chain_id,
    slotsPerEpoch: file.slots_per_epoch,
    secondsPerSlot: file.seconds_per_slot,
    genesisTimestamp: file.genesis_timestamp,
    genesisValidatorsRoot: fromHex(file.genesis_validators_root, 32),
    genesisForkVersion: fromHex(file.genesis_fork_version, 4),
    capellaForkVersion: fromHex(file.capella_fork_version, 4),
    capellaEpoch: file.capella_epoch,
    depositContract: fromHex(file.deposit_contract, 20),
    depositContractBlock: file.deposit_contract_block,
    keeper: fromHex(file.keeper, 20),
    keeperBlock: file.keeper_block,
    registryDump:
      file.registry_dump_cid === undefined
        ? undefined
        : { cid: file.registry_dump_cid, lastBlock: file.registry_dump_block ?? 0 },
    ssvNetwork:
      file.ssv_network === undefined
        ? undefined
        : { address: fromHex(file.ssv_network, 20), block: file.ssv_network_block ?? 0 },
  })
}

const mainnet = networkOf({
  name: 'mainnet',
  chain_id: 1,
  slots_per_epoch: 32,
  seconds_per_slot: 12,
  genesis_timestamp: 1606824023,
  genesis_validators_root: '0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95',
  genesis_fork_version: '0x00000000',
  capella_fork_version: '0x03000000',
  capella_epoch: 194048,
  deposit_contract: '0x00000000219ab540356cBB839Cbe05303d7705Fa',
  deposit_contract_block: 11052983,
  keeper: '0x6B5815467da09DaA7DC83Db21c9239d98Bb487b5',
  keeper_block: 18470089,
  registry_dump_cid: 'bafybeih7iqn3ke2cydzctd6bmg5j3xyjdhpg352lvzhxd2fld7h2erzpuu',
  registry_dump_block: 21245634,
  ssv_network: '0xDD9BC35aE942eF0cFa76930954a156B3fF30a4E1',
  ssv_network_block: 17507487,
})

const hoodi = networkOf({
  name: 'hoodi',
  chain_id: 560048,
  slots_per_epoch: 32,
  seconds_per_slot: 12,
  genesis_timestamp: 1742213400,
  genesis_validators_root: '0x212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f',
  genesis_fork_version: '0x10000910',
  capella_fork_version: '0x40000910',
  capella_epoch: 0,
  deposit_contract: '0x00000000219ab540356cBB839Cbe05303d7705Fa',
  deposit_contract_block: 0,
  keeper: '0xA7D1Ac9D6F32B404C75626874BA56f7654c1dC0f',
  keeper_block: 94074,
  registry_dump_cid: 'bafybeihgdexvx4oca6proa5adhcumf66zo5ugy5oppunsh2wnlo4ejnxgm',
  registry_dump_block: 1118796,
  ssv_network: '0x58410Bef803ECd7E63B23664C586A6DB72DAf59c',
  ssv_network_block: 1065,
})

const gnosis = networkOf({
  name: 'gnosis',
  chain_id: 100,
  slots_per_epoch: 16,
  seconds_per_slot: 5,
  genesis_timestamp: 1638993340,
  genesis_validators_root: '0xf5dcb5564e829aab27264b9becd5dfaa017085611224cb3036f573368dbb9d47',
  genesis_fork_version: '0x00000064',
  capella_fork_version: '0x03000064',
  capella_epoch: 648704,
  deposit_contract: '0x0B98057eA310F4d31F2a452B414647007d1645d9',
  deposit_contract_block: 19469076,
  keeper: '0xcAC0e3E35d3BA271cd2aaBE688ac9DB1898C26aa',
  keeper_block: 34778552,
  registry_dump_cid: 'bafybeih5addmhcgkuwliowdu5in3y2o5jtcayazol4mgi2jmcgm3dkxqpu',
  registry_dump_block: 37195642,
})

/** The built-in networks by name. */
export const networks = Object.freeze({ mainnet, hoodi, gnosis })

/**
 * Whether real money is at stake on a network, under whatever name: then what is a warning elsewhere is refused.
 */
export const hasRealStake = ({ chainId }: Pick<Network, 'chainId'>): boolean =>
  chainId === mainnet.chainId || chainId === gnosis.chainId

const fileCheck = Compile(NetworkFile)
/** A network has some 25. */
const MAX_VALUES = 1000

/**
 * The network a setting names: `mainnet`, `hoodi`, `gnosis`, or the path of a JSON file of the shape `NetworkFile`.
 *
 * @throws {ChainError} NETWORK_INVALID; the message completes "NETWORK …" and lists every problem of the file
 */
export function parseNetwork(setting: string): Network {
  const builtIn = Object.values(networks).find(({ name }) => name === setting.toLowerCase())
  if (builtIn !== undefined) return builtIn
  const refuse = (message: string) => new ChainError('NETWORK_INVALID', message)
  let text: string
  try {
    text = readTextSync(setting)
  } catch (error) {
    if (error instanceof TextError) throw refuse(`names a file that ${error.message}`)
    throw refuse(`is "${setting}", which is neither ${Object.keys(networks).join(', ')} nor a file that can be read`)
  }
  let value: unknown
  try {
    value = parseJsonText(text, MAX_VALUES)
  } catch (error) {
    throw refuse(`names a file that ${messageOf(error)}`)
  }
  if (!fileCheck.Check(value)) {
    const problems = [...fileCheck.Errors(value)].map((fault) =>
      `${fault.instancePath.replace(/^\//, '')} ${faultWords(NetworkFile, fault)}`.trim(),
    )
    throw refuse(`names a file with ${problems.length === 1 ? 'a problem' : 'problems'}: ${problems.join('; ')}`)
  }
  if (Object.hasOwn(networks, value.name))
    throw refuse(`names a file that calls itself ${value.name}, a built-in network`)
  return networkOf(value)
}
