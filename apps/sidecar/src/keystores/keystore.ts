/** What the sidecar needs of key shares, wherever they are. */

/** One key share this process can sign with. */
export interface KeyShare {
  /** Lower-case hex with `0x`. */
  readonly validatorPublicKey: string
  /** From 1. */
  readonly shareIndex: number
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
  sign(signingRoot: Uint8Array, keyShare: KeyShare): Promise<Uint8Array>
}
