/** What the sidecar needs of key shares, wherever they are. */

/** One key share this process can sign with. */
export interface KeyShare {
  /** Lower-case hex with `0x`. */
  readonly validatorPublicKey: string
  /** From 1. */
  readonly shareIndex: number
  /** Every node's public key share of this validator, its own one included, as `POST /signatures` wants them. */
  readonly publicKeyShares: readonly { readonly share_index: number; readonly public_key_share: string }[]
  /** Where the cluster's lock says the validator's money goes: 20 bytes, lower-case hex with `0x`; undefined where it names none. */
  readonly withdrawalAddress: string | undefined
}

/** A set of key shares. Secrets never leave it. */
export interface Keystore {
  /** Every key share it can sign with. */
  readonly keyShares: readonly KeyShare[]
  /**
   * The partial signature of a 32-byte signing root by one key share: 96 bytes.
   *
   * The caller has computed the root itself and checked the policy: what comes in here is signed.
   */
  sign(signingRoot: Uint8Array, keyShare: Pick<KeyShare, 'validatorPublicKey' | 'shareIndex'>): Promise<Uint8Array>
}
