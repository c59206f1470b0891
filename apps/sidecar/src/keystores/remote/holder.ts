/** What holds keys that are not here: how messages call it, and which settings are about it. */

export interface Holder {
  readonly name: string
  readonly settings: { readonly url: string; readonly ca: string; readonly cert: string; readonly key: string }
  /** What else a signature that does not verify may mean. */
  readonly wrong: string
}

/** What speaks the signing API of Web3Signer. */
export const REMOTE_SIGNER: Holder = {
  name: 'remote signer',
  settings: {
    url: 'REMOTE_SIGNER_URL',
    ca: 'REMOTE_SIGNER_CA_FILE',
    cert: 'REMOTE_SIGNER_CERT_FILE',
    key: 'REMOTE_SIGNER_KEY_FILE',
  },
  wrong: '',
}
