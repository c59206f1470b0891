import { describe, expect, it } from 'vitest'
import { html } from './html.ts'

describe('html', () => {
  it.each([
    ['<script>alert(1)</script>', '&#60;script&#62;alert(1)&#60;/script&#62;'],
    ['"><img src=x onerror=alert(1)>', '&#34;&#62;&#60;img src=x onerror=alert(1)&#62;'],
    ["' onmouseover='x", '&#39; onmouseover=&#39;x'],
    ['a & b', 'a &#38; b'],
    ['`', '&#96;'],
    ['abc\u202egnp.exe', 'abc\\u{202e}gnp.exe'],
    ['zero\u200bwidth\u0000', 'zero\\u{200b}width\\u{0}'],
    ['line\nbreak\u2028', 'line\\u{a}break\\u{2028}'],
    ['\ud800', '\\u{d800}'],
    ['Zürich ⚡ 東京', 'Zürich ⚡ 東京'],
  ])('takes %j for text', (text, wanted) => {
    expect(String(html`<b title="${text}">${text}</b>`)).toBe(`<b title="${wanted}">${wanted}</b>`)
  })

  it('keeps what it has made itself, and nothing that only looks like it', () => {
    const inner = html`<i>${'<'}</i>`
    expect(String(html`<b>${[inner, 1, null, undefined, false, ['&']]}</b>`)).toBe('<b><i>&#60;</i>1&#38;</b>')
    expect(String(html`${{ toString: () => '<b>' } as never}`)).not.toContain('<b>')
  })
})
