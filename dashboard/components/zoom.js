// How much of a picture is seen. Pictures of a group show the same part, by shares of their width and height.

const MOST = 16 // times enlarged
const windows = new Map() // a group's window, for pictures that come later
const MOVED = "corrcore:moved"

// A window [left, top] of 1 / scale of the width and height, on a stage that is laid out so much larger than its frame.
class View {
  scale = 1
  left = 0
  top = 0

  constructor(frame, stage, changed) {
    this.frame = frame
    this.stage = stage
    this.changed = changed
    this.listen = event => this.hear(event.detail)
  }

  // The group whose window it shows; none is "".
  join(group) {
    if (group === this.group) return
    this.group = group
    document.removeEventListener(MOVED, this.listen)
    if (group) document.addEventListener(MOVED, this.listen)
    this.show(windows.get(group) ?? { scale: 1, left: 0, top: 0 })
  }

  hear({ group, from, view }) {
    if (group === this.group && from !== this) this.show(view)
  }

  // Enlarges by a factor around a place of the frame, in shares of it, which stays where it is.
  zoom(factor, [across, down] = [0.5, 0.5]) {
    const scale = Math.min(Math.max(this.scale * factor, 1), MOST)
    const left = this.left + across / this.scale - across / scale
    const top = this.top + down / this.scale - down / scale
    return this.move({ scale, left, top })
  }

  // Moves the picture under the window by shares of the frame.
  pan([across, down]) {
    return this.move({
      scale: this.scale,
      left: this.left - across / this.scale,
      top: this.top - down / this.scale,
    })
  }

  // Moves the window so that a place of the picture, in shares of it, is seen.
  reveal([across, down]) {
    const seen = 1 / this.scale
    const left = Math.min(Math.max(this.left, across - 0.95 * seen), across - 0.05 * seen)
    const top = Math.min(Math.max(this.top, down - 0.95 * seen), down - 0.05 * seen)
    return this.move({ scale: this.scale, left, top })
  }

  // Whether anything moved.
  move({ scale, left, top }) {
    const last = 1 - 1 / scale
    const view = { scale, left: Math.min(Math.max(left, 0), last), top: Math.min(Math.max(top, 0), last) }
    if (view.scale === this.scale && view.left === this.left && view.top === this.top) return false
    this.show(view)
    windows.set(this.group, view)
    document.dispatchEvent(new CustomEvent(MOVED, { detail: { group: this.group, from: this, view } }))
    return true
  }

  show({ scale, left, top }) {
    Object.assign(this, { scale, left, top })
    const percent = share => `${100 * share}%`
    Object.assign(this.stage.style, {
      inset: "auto",
      width: percent(scale),
      height: percent(scale),
      left: percent(-left * scale),
      top: percent(-top * scale),
    })
    this.frame.classList.toggle("zoomed", scale > 1)
    this.changed()
  }

  // A place of the picture in the frame, both in shares.
  placed([across, down]) {
    return [(across - this.left) * this.scale, (down - this.top) * this.scale]
  }
}
