//! A picture and a sound, as small as they come.

/// A pattern of 8 by 8 pixels.
pub(crate) const PNG: &[u8] = include_bytes!("../assets/pattern.png");

/// A hundredth of a second of silence.
pub(crate) const WAV: &[u8] = include_bytes!("../assets/silence.wav");
