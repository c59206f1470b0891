/**
 * What an exit depends on, per network (docs/protocol.md#2-networks). A table of its own, compared with that of libs/chain by a test:
 * reading networks there needs a schema library that is larger than the rest of this program.
 */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { JsonField, parseJson, SMALL_JSON } from '@dvt-relayer/crypto/json-field.ts'
import { unreadable } from './errors.ts'

export interface ExitNetwork {
  name: string
  /** 4 bytes. */
  genesisForkVersion: Uint8Array
  /** 4 bytes; exits are signed under it for ever (EIP-7044). */
  capellaForkVersion: Uint8Array
  /** The epoch of every exit message. */
  capellaEpoch: number
  /** 32 bytes. */
  genesisValidatorsRoot: Uint8Array
}

export const NETWORKS: readonly ExitNetwork[] = [
  {
    name: 'mainnet',
    genesisForkVersion: fromHex('0x00000000'),
    capellaForkVersion: fromHex('0x03000000'),
    capellaEpoch: 194048,
    genesisValidatorsRoot: fromHex('0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95'),
  },
  {
    name: 'hoodi',
    genesisForkVersion: fromHex('0x10000910'),
    capellaForkVersion: fromHex('0x40000910'),
    capellaEpoch: 0,
    genesisValidatorsRoot: fromHex('0x212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f'),
  },
  {
    name: 'gnosis',
    genesisForkVersion: fromHex('0x00000064'),
    capellaForkVersion: fromHex('0x03000064'),
    capellaEpoch: 648704,
    genesisValidatorsRoot: fromHex('0xf5dcb5564e829aab27264b9becd5dfaa017085611224cb3036f573368dbb9d47'),
  },
]

/** The network of this name, undefined when it is none that is built in. */
export const findNetwork = (name: string): ExitNetwork | undefined =>
  NETWORKS.find((network) => network.name === name.toLowerCase())

/**
 * A network as the relayer's `NETWORK` file states it; only what an exit depends on is read.
 *
 * @throws {InputError} unreadable
 */
export function readNetworkFile(text: string, label: string): ExitNetwork {
  const fault = (path: string, reason: string) => unreadable(`${label}: ${path === '' ? 'it' : path} ${reason}`)
  const file = new JsonField(parseJson(text, SMALL_JSON, fault), '', fault)
  return {
    name: file.get('name').text(32),
    genesisForkVersion: file.get('genesis_fork_version').hex(4),
    capellaForkVersion: file.get('capella_fork_version').hex(4),
    capellaEpoch: file.get('capella_epoch').integer(0),
    genesisValidatorsRoot: file.get('genesis_validators_root').hex(32),
  }
}
