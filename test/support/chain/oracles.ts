/** Oracles with their keys, and the config that names them. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'

export interface TestOracle {
  /** 32 bytes. */
  secretKey: Uint8Array
  /** 65 bytes, uncompressed. */
  publicKey: Uint8Array
}

/** Makes `count` oracles with random keys. */
export function makeOracles(count: number): TestOracle[] {
  return Array.from({ length: count }, () => {
    const secretKey = secp256k1.utils.randomSecretKey()
    return { secretKey, publicKey: secp256k1.getPublicKey(secretKey, false) }
  })
}

/** The JSON of an oracle config, as it lies on IPFS. Who has no endpoints gets one that leads nowhere. */
export function oracleConfig(
  oracles: readonly (Pick<TestOracle, 'publicKey'> & { endpoints?: readonly string[] })[],
  threshold: number,
) {
  return {
    oracles: oracles.map(({ publicKey, endpoints }, position) => ({
      public_key: `0x${toHex(publicKey).slice('0x04'.length)}`,
      endpoints: endpoints ?? [`https://oracle-${position}.invalid`],
    })),
    exit_signature_recover_threshold: threshold,
    exit_signature_epoch: 194048,
    until_force_exit_epochs: 225,
    validators_approval_batch_limit: 10,
    validators_exit_rotation_batch_limit: 100,
    signature_validity_period: 120,
  }
}
