/** What a handshake that failed means, in the words of whoever has to mend it. */

/** What is wrong with the other side's certificate, by the code of Node or OpenSSL; undefined for what is no matter of certificates. */
export function tlsFaultOf(code: string): string | undefined {
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired'
  if (code === 'CERT_NOT_YET_VALID') return 'its certificate is not valid yet: is the clock right?'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its certificate is for another name than the host in the URL'
  if (/SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|CERT_(UNTRUSTED|SIGNATURE_FAILURE)|INVALID_CA/.test(code))
    return 'its certificate is not signed by a CA that is trusted here'
  if (/^(ERR_SSL|EPROTO)/.test(code)) return 'the handshake failed'
  return undefined
}
