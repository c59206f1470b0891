import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { REASONS } from '../../services/explain/reasons.ts'
import { ANCHORS } from '../../services/status/problems.ts'
import { helpPage, RUNBOOK_FILE } from './help.ts'

describe('the runbook as a page', () => {
  const page = helpPage(readFileSync(RUNBOOK_FILE, 'utf8'))

  it('has a place for each reason and each problem', () => {
    const anchors = [...Object.values(REASONS).map(({ anchor }) => anchor), ...Object.values(ANCHORS)]
    for (const anchor of anchors) expect(page).toContain(`<h2 id="${anchor}">`)
  })

  it('leads nowhere that is not served, and leaves no Markdown behind', () => {
    const targets = [...page.matchAll(/ (?:href|src)="([^"]*)"/g)].map(([, target = '']) => target)
    const served = ['../status', 'style.css', 'live.js', 'data:,']
    expect(targets.filter((target) => !served.includes(target) && !target.startsWith('#'))).toEqual([])
    for (const target of targets) if (target.startsWith('#')) expect(page).toContain(`id="${target.slice(1)}"`)
    const words = page.replaceAll(/<pre>[\s\S]*?<\/pre>|<code>.*?<\/code>/g, '')
    expect(words).not.toContain('/../')
    expect(words).not.toMatch(/`|\]\(|\*\*|^#/m)
  })

  it('takes what it renders for text', () => {
    const rendered = helpPage(
      '# A <b>\n\n- <i> one\n  goes on\n- two [x](javascript:alert(1))\n\n```sh\na <b> "c"\n```\n\n| a |\n|---|\n| <td> |',
    )
    expect(rendered).not.toMatch(/<b>|<i>|href="javascript/)
    expect(rendered).toContain('<li>&#60;i&#62; one goes on</li>')
    expect(rendered).toContain('<td>&#60;td&#62;</td>')
    expect(rendered).toContain('<pre><code>a &#60;b&#62; &#34;c&#34;<br></code></pre>')
  })
})
